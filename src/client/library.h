/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* library.h - under the generated calls of libvireo (include/vireo/vireo.h). */
#pragma once

#include "client/connection.h"

#include <vireo/vireo.h>

/* *ret: what the call answered, for vireo_free(); ret NULL: the call answers nothing. */
int library_call(struct vireo_connect *c, const struct rpc_program *program, int proc,
                 const void *args, void **ret, struct vireo_stream **ret_stream);
