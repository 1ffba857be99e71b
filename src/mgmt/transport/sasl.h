/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sasl.h - SASL sessions of TCP clients (cyrus-sasl; /etc/sasl2/libvirt.conf says which
 * mechanisms).
 *
 * After authentication all bytes are wrapped when the mechanism gave us a strength; over TLS or a
 * Unix socket they stay plain.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct sasl_session;
struct client;

int sasl_session_new(struct client *c, struct sasl_session **ret, struct err **err) MUST_CHECK;
struct sasl_session *sasl_session_free(struct sasl_session *s);

/* Borrowed. */
const char *sasl_mechanisms(struct sasl_session *s, struct err **err);
/* One step; mech is NULL after the first. ret_out is borrowed. 1 when complete, 0 to go on. */
int sasl_step(struct sasl_session *s, const char *mech, const void *in, size_t in_len,
              const void **ret_out, size_t *ret_len, struct err **err);
/* The authenticated user's name, borrowed. */
const char *sasl_user(struct sasl_session *s);
/* Bytes are wrapped from now on. */
void sasl_activate(struct sasl_session *s);
bool sasl_active(const struct sasl_session *s);

typedef ssize_t sasl_put_fn(struct client *c, const void *p, size_t len);
/* Wraps and sends; returns how much of p is done, or -EAGAIN. */
ssize_t sasl_put(struct sasl_session *s, const void *p, size_t len, sasl_put_fn *put,
                 struct client *c);
/* Unwraps the n bytes that follow *len in *buf, in place (growing *buf). */
int sasl_take(struct sasl_session *s, uint8_t **buf, size_t *len, size_t *room, size_t n);
