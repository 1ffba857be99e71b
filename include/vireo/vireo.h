/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vireo.h - libvireo: a client of vireod and of every daemon that speaks libvirt's protocol.
 *
 *      struct vireo_connect *c;
 *      struct vireo_domain_lookup_by_name_ret *found;
 *
 *      if (vireo_connect_open("qemu:///system", 0, &c) == 0 &&
 *          vireo_domain_lookup_by_name(c, "guest", &found) == 0) {
 *          vireo_domain_create(c, &found->dom);
 *          vireo_free(found);
 *      }
 *
 * Functions return 0, or a negative number after which vireo_last_error() says why. What a call
 * answers is one allocation, with all that it points to: vireo_free() frees it. Objects are plain
 * values (a domain is its name, UUID and id), so that there is nothing to count or to release. Any
 * thread may call.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vireo_connect;
struct vireo_stream;

enum { VIREO_CONNECT_RO = 1 };

/* NULL: $LIBVIRT_DEFAULT_URI, else qemu:///system for root and qemu:///session for others. */
int vireo_connect_open(const char *uri, unsigned flags, struct vireo_connect **ret);
void vireo_connect_close(struct vireo_connect *c);
const char *vireo_connect_uri(const struct vireo_connect *c);
/* The connection still stands. */
int vireo_connect_is_alive(struct vireo_connect *c);
/* For poll(): readable when there may be events. */
int vireo_connect_fd(const struct vireo_connect *c);

/* Of the calling thread's last call that failed. Code and domain are libvirt's numbers; code 38
 * (system error) for what has no other. */
struct vireo_error {
    int code, domain;
    const char *message;
};
const struct vireo_error *vireo_last_error(void);

/* Frees what a call answered; NULL does nothing. */
void vireo_free(void *ret);

/* A named value (libvirt's virTypedParameter). */
enum vireo_param_kind {
    VIREO_PARAM_INT = 1,
    VIREO_PARAM_UINT,
    VIREO_PARAM_LLONG,
    VIREO_PARAM_ULLONG,
    VIREO_PARAM_DOUBLE,
    VIREO_PARAM_BOOLEAN,
    VIREO_PARAM_STRING,
};

struct vireo_param {
    char *field;
    int32_t kind;
    union {
        int32_t i;
        uint32_t ui;
        int64_t l;
        uint64_t ul;
        double d;
        int32_t b;
        char *s;
    } value;
};
/* NULL: not among them. */
const struct vireo_param *vireo_param_find(const struct vireo_param *params, uint32_t n,
                                           const char *field);

/* Events. Register with vireo_connect_domain_event_callback_register_any() and its like, then ask
 * for what came: fn gets the message's number (VIREO_DOMAIN_EVENT_CALLBACK_LIFECYCLE...; qemu:
 * VIREO_DOMAIN_MONITOR_EVENT) and its struct, e.g. struct
 * vireo_domain_event_callback_lifecycle_msg. Returns how many came, 0 after timeout_ms (-1: waits),
 * or a negative number when the connection ended. */
typedef void vireo_event_fn(void *arg, int qemu, int event, const void *msg);
int vireo_connect_events(struct vireo_connect *c, int timeout_ms, vireo_event_fn *fn, void *arg);

/* Data beside a call. recv: the count, 0 at the end or after a hole (*ret_hole bytes; may be NULL),
 * -EAGAIN after the time. After the last byte in either direction vireo_stream_finish() asks how it
 * went; abort gives the rest up. */
ssize_t vireo_stream_recv(struct vireo_stream *s, void *buf, size_t len, int timeout_ms,
                          uint64_t *ret_hole);
int vireo_stream_send(struct vireo_stream *s, const void *buf, size_t len);
int vireo_stream_send_hole(struct vireo_stream *s, uint64_t len);
int vireo_stream_finish(struct vireo_stream *s);
void vireo_stream_abort(struct vireo_stream *s);
void vireo_stream_free(struct vireo_stream *s);

#include <vireo/calls.h>

#ifdef __cplusplus
}
#endif
