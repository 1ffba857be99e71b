/* SPDX-License-Identifier: GPL-2.0-or-later */
/* objects.h - what the image tools' --object makes: secrets, TLS credentials and throttle groups.
 */
#pragma once

#include "block/core/block.h"

struct objects;

/* Secrets and credentials that ctx asks for come from here. */
int objects_new(struct block_ctx *ctx, struct objects **ret, struct err **err) MUST_CHECK;
struct objects *objects_free(struct objects *o);
/* "secret,id=X,data=Y" or "file=...", "tls-creds-x509,id=X,dir=Y,...",
 * "throttle-group,id=X,x-iops-total=N,...": as QEMU writes them. */
int objects_add(struct objects *o, const char *text, struct err **err) MUST_CHECK;

/* The credentials of that id: the folder, borrowed, or NULL; *ret_verify: verify-peer. */
const char *objects_tls(struct objects *o, const char *id, bool *ret_verify);
