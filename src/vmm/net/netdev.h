/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * netdev.h - the host's end of a network card. Main loop only.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct keyval;
struct machine;
struct netdev;

enum { NETDEV_MAX_FRAME = 65536 + 64 };

struct netdev_class {
    const char *name;
    size_t size;
    int (*open)(struct netdev *nd, struct keyval *opts, struct err **err);
    void (*close)(struct netdev *nd);
    /* An Ethernet frame from the guest: 0, or -EAGAIN: keep it, ready() will be called. */
    int (*send)(struct netdev *nd, const struct iovec *iov, unsigned n);
    /* The guest has room again. */
    void (*resume)(struct netdev *nd);
};

struct netdev {
    const struct netdev_class *cls;
    struct machine *m;
    char *id; /* owned */
    /* The card. receive: false when there is no room now; netdev_resume() follows then. */
    bool (*receive)(void *arg, const uint8_t *frame, size_t len);
    void (*ready)(void *arg); /* send() takes frames again */
    void *arg;
};

/* -netdev TYPE,id=ID,...; the machine owns it. */
int netdev_add(struct machine *m, struct keyval *opts, struct err **err) MUST_CHECK;
struct netdev *netdev_find(struct machine *m, const char *id);
struct netdev *netdev_free(struct netdev *nd);
void netdev_free_all(struct machine *m);

extern const struct netdev_class netdev_user, netdev_tap, netdev_stream, netdev_dgram,
    netdev_socket;
