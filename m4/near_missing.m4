# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors

# NEAR_MISSING(LIBRARY, DEBIAN-PACKAGE, OPTION)
# Stops configure with what to install, or which option does without.
AC_DEFUN([NEAR_MISSING],
  [AC_MSG_ERROR([the headers of $1 are missing.
  Debian, Ubuntu:  apt-get install $2
  or do without:   configure $3])])
