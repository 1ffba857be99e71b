/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frames.h - Ethernet frames over a descriptor: one a datagram (sockets, taps), or in a stream with
 * a length of four bytes, big-endian, before each. What network back ends have in common. Main loop.
 */
#pragma once

#include "vmm/net/netdev.h"

#include <sys/socket.h>

struct loop_source;

enum frames_kind { FRAMES_DATAGRAM, FRAMES_TAP, FRAMES_STREAM };

struct frames {
    struct netdev *nd;
    int fd; /* owned; -1: the cable is out */
    enum frames_kind kind;
    unsigned header; /* bytes before a frame that say nothing (a tap's virtio header) */
    struct loop_source *source;
    uint8_t *in; /* owned */
    size_t held; /* bytes of a frame that the guest had no room for */
    size_t have; /* of a stream: bytes in `in` */
    uint8_t *out;    /* owned: the rest of a frame that a stream took in part */
    size_t out_len, out_at;
    struct sockaddr_storage to; /* of datagrams, when it is not connected */
    socklen_t to_len;
    bool blocked; /* send() said -EAGAIN */
    void (*gone)(void *arg); /* the peer closed; may be NULL */
    void *arg;
};

/* Nothing is connected. */
void frames_init(struct frames *f, struct netdev *nd);
/* Takes fd, also when it fails. */
int frames_open(struct frames *f, int fd, enum frames_kind kind, struct err **err) MUST_CHECK;
void frames_close(struct frames *f);
int frames_send(struct frames *f, const struct iovec *iov, unsigned n);
void frames_resume(struct frames *f);
