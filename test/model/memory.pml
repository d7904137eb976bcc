/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The memory that a model is checked under: -DTSO or -DARM. Operations have the names of src/base/atomic.h. */
#if defined(TSO)
#include "tso.pml"
#elif defined(ARM)
#include "arm.pml"
#endif

/* What the C code does in this place and the model has no use for. */
#define omitted(operation)
