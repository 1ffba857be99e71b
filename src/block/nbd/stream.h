/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * stream.h - a connected socket, with TLS on it or not, for whole blocking transfers.
 *
 * One thread may read while another writes. 0 or a negative errno; the peer's end is -ECONNRESET.
 */
#pragma once

#include "base/err.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct tls;
struct tls_creds;

struct nbd_stream {
    int fd;               /* owned */
    struct tls *tls;      /* owned; NULL: plain */
    int timeout_ms;       /* of one wait for the peer; -1: for ever */
    pthread_mutex_t lock; /* the TLS session: one call at a time, none of them waits */
};

void nbd_stream_init(struct nbd_stream *s, int fd);
void nbd_stream_done(struct nbd_stream *s);
/* Wakes whoever waits in a transfer; later ones fail. Any thread. */
void nbd_stream_shutdown(struct nbd_stream *s);
void nbd_stream_set_timeout(struct nbd_stream *s, int ms);
/* hostname: what a client demands of the server's certificate. */
int nbd_stream_start_tls(struct nbd_stream *s, struct tls_creds *creds, bool server,
                         const char *hostname, bool verify_peer, struct err **err) MUST_CHECK;

int nbd_stream_read(struct nbd_stream *s, void *buf, size_t len) MUST_CHECK;
int nbd_stream_readv(struct nbd_stream *s, const struct iovec *iov, unsigned n) MUST_CHECK;
/* Reads and forgets. */
int nbd_stream_skip(struct nbd_stream *s, uint64_t len) MUST_CHECK;
int nbd_stream_write(struct nbd_stream *s, const void *buf, size_t len) MUST_CHECK;
/* head, then the vector. */
int nbd_stream_writev(struct nbd_stream *s, const void *head, size_t head_len,
                      const struct iovec *iov, unsigned n) MUST_CHECK;
