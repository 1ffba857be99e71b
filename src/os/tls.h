/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tls.h - TLS sessions over a connected non-blocking socket (GnuTLS, x509).
 *
 * A folder of credentials is laid out as QEMU's: ca-cert.pem, server-cert.pem, server-key.pem,
 * client-cert.pem, client-key.pem. Sessions borrow the credentials, which must outlive them.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct tls_creds;
struct tls;

/* ca, cert, key, crl: PEM files; cert and key may be NULL for a client without a certificate, crl
 * may be NULL. */
int tls_creds_load(const char *ca, const char *cert, const char *key, const char *crl,
                   struct tls_creds **ret, struct err **err) MUST_CHECK;
int tls_creds_load_folder(const char *dir, bool server, struct tls_creds **ret, struct err **err)
    MUST_CHECK;
struct tls_creds *tls_creds_free(struct tls_creds *creds);
DEFINE_CLEANUP(struct tls_creds, tls_creds_free)

/* hostname: what the server's certificate must name (clients), else NULL. verify_peer: a server
 * asks for, and checks, the client's certificate. priority: GnuTLS string, NULL for "NORMAL". */
int tls_new(struct tls_creds *creds, int fd, bool server, const char *hostname, bool verify_peer,
            const char *priority, struct tls **ret, struct err **err) MUST_CHECK;
struct tls *tls_free(struct tls *tls);
DEFINE_CLEANUP(struct tls, tls_free)

/* 0 when done, -EAGAIN when the socket must be waited for (tls_wants_write() says how). */
int tls_handshake(struct tls *tls, struct err **err) MUST_CHECK;
bool tls_wants_write(const struct tls *tls);

/* As read() and write() with a negative errno: -EAGAIN when the socket would block; 0 at the end.
 */
ssize_t tls_read(struct tls *tls, void *buf, size_t len);
ssize_t tls_write(struct tls *tls, const void *buf, size_t len);
/* Bytes decrypted already, which poll() cannot see. */
size_t tls_pending(const struct tls *tls);

/* The peer's distinguished name, owned by the caller; NULL when it sent no certificate. */
char *tls_peer_name(const struct tls *tls);
/* Strength of the cipher in bits. */
unsigned tls_key_bits(const struct tls *tls);
