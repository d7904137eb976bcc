# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors

# NEAR_PROBE_CFLAGS(VARIABLE, FLAGS)
# Appends those flags to VARIABLE that the C compiler accepts without a word.
AC_DEFUN([NEAR_PROBE_CFLAGS],
  [AC_LANG_PUSH([C])
  near_saved_CFLAGS=$CFLAGS
  for near_flag in $2; do
    AS_VAR_PUSHDEF([near_cv], [near_cv_flag_$near_flag])
    AC_CACHE_CHECK([whether $CC takes $near_flag], [near_cv],
      [CFLAGS="$near_saved_CFLAGS -Werror $near_flag"
      AC_COMPILE_IFELSE([AC_LANG_PROGRAM([])],
        [AS_VAR_SET([near_cv], [yes])], [AS_VAR_SET([near_cv], [no])])])
    AS_VAR_IF([near_cv], [yes], [$1="$$1 $near_flag"])
    AS_VAR_POPDEF([near_cv])
  done
  CFLAGS=$near_saved_CFLAGS
  AC_LANG_POP([C])])
