/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dynlib.h - libraries that are opened only by what needs them.
 *
 * GnuTLS and LibVNCServer bring fifteen others with them, which cost more at the start of a machine
 * than all else; most runs need neither. Their functions are used through pointers:
 *
 *     #define FUNCTIONS(X) X(gnutls_init) X(gnutls_deinit)
 *     FUNCTIONS(DYNLIB_POINTER)
 *     static const struct dynlib_symbol symbols[] = { FUNCTIONS(DYNLIB_SYMBOL) };
 *     r = dynlib_open("libgnutls.so.30", symbols, sizeof(symbols) / sizeof(symbols[0]), err);
 *     dyn_gnutls_init(...);
 *
 * Must be opened before the process gives up its file system.
 */
#pragma once

#include "base/err.h"

#include <stddef.h>

struct dynlib_symbol {
    const char *name;
    void *place; /* a pointer to a function pointer */
};

#define DYNLIB_POINTER(fn) static typeof(fn) *dyn_##fn;
#define DYNLIB_SYMBOL(fn)  { #fn, (void *)&dyn_##fn },

/* Loads the library for the rest of the process's life and fills all places; again does no harm. Any
 * thread. */
int dynlib_open(const char *soname, const struct dynlib_symbol *symbols, size_t n,
                struct err **err) MUST_CHECK;
