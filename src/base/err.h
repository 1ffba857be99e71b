/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * err.h - an error a person or a peer will read.
 *
 * Functions that can fail return 0 or a negative errno. Those whose failure
 * reaches a user also take "struct err **err" as the last parameter; err may
 * be NULL when the caller does not want the text.
 */
#pragma once

#include "base/own.h"

struct err {
    int code;   /* positive errno */
    char *text; /* one sentence, no newline, no final period */
};

/* Sets *err once (the first cause wins) and returns -code, so that the
 * usual form is "return err_set(err, EINVAL, ...)". */
int err_set(struct err **err, int code, const char *fmt, ...) PRINTF(3, 4);

/* Puts context before the text: "disk 'sda': " + what was there. */
void err_prefix(struct err **err, const char *fmt, ...) PRINTF(2, 3);

struct err *err_free(struct err *err);
DEFINE_CLEANUP(struct err, err_free)
