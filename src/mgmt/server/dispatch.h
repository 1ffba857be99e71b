/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dispatch.h - from a message to its handler: program and procedure, permission, decoding,
 * and where the handler runs.
 */
#pragma once

#include "mgmt/server/client.h"

/* Handles one whole message (its length word taken off) with the descriptors that came with it,
 * which it takes from c->in_fds. Bad ones answer an error. -EPROTO: the client must go. */
int dispatch_message(struct client *c, const uint8_t *p, size_t len);

/* The tables of handlers; more than one may serve a program. Borrowed. */
struct remote_ops;
struct qemu_ops;
struct admin_ops;
void dispatch_add_remote(const struct remote_ops *ops);
void dispatch_add_qemu(const struct qemu_ops *ops);
void dispatch_add_admin(const struct admin_ops *ops);
