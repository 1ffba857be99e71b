/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * client.h - requests over one NBD connection: any thread, several at a time.
 *
 * There is no thread of its own: of the threads that wait for replies one reads for all. After the
 * connection broke every call gives -ECONNRESET or what broke it, and dead says so.
 */
#pragma once

#include "block/nbd/negotiate.h"

#include <sys/uio.h>

struct nbd_client;

/* Negotiates over fd, which it takes. */
int nbd_client_new(int fd, const struct nbd_wish *wish, struct nbd_client **ret, struct err **err)
    MUST_CHECK;
/* No call may be under way. */
struct nbd_client *nbd_client_free(struct nbd_client *c);
DEFINE_CLEANUP(struct nbd_client, nbd_client_free)
/* Ends the session for all who wait. Any thread. */
void nbd_client_shutdown(struct nbd_client *c);

const struct nbd_export_info *nbd_client_info(const struct nbd_client *c);
bool nbd_client_dead(struct nbd_client *c);
/* Requests under way, to choose among connections. */
unsigned nbd_client_load(struct nbd_client *c);

/* cmd: NBD_CMD_READ or _WRITE with iov; others with len. Ranges and flags must suit the export. */
int nbd_client_transfer(struct nbd_client *c, uint16_t cmd, uint16_t flags, const struct iovec *iov,
                        unsigned n, uint64_t off);
int nbd_client_command(struct nbd_client *c, uint16_t cmd, uint16_t flags, uint64_t off,
                       uint32_t len);
/* The first extent of the range: its length (1 to len) and the context's flags. */
int nbd_client_status(struct nbd_client *c, uint64_t off, uint32_t len, uint32_t *ret_len,
                      uint32_t *ret_flags);
