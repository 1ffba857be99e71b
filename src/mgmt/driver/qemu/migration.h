/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * migration.h - a running domain moves to another daemon's emulator (libvirt's protocol version 3).
 *
 *      source                                  destination
 *      begin    checks, definition, cookie
 *                                              prepare  emulator with "-incoming", listening
 *      perform  memory and state are sent
 *                                              finish   the guest goes on there (or is given up)
 *      confirm  the rest is removed (or the guest goes on here)
 *
 * The steps are driven by the client (direct) or, when it asks only for "perform" with the
 * peer-to-peer flag, by the source itself (migration_peer.c).
 */
#pragma once

#include "mgmt/daemon/calls.h"
#include "mgmt/driver/qemu/run.h"

enum {
    MIGRATE_LIVE = 1,
    MIGRATE_PEER2PEER = 2,
    MIGRATE_TUNNELLED = 4,
    MIGRATE_PERSIST_DEST = 8,
    MIGRATE_UNDEFINE_SOURCE = 16,
    MIGRATE_PAUSED = 32,
    MIGRATE_NON_SHARED_DISK = 64,
    MIGRATE_NON_SHARED_INC = 128,
    MIGRATE_CHANGE_PROTECTION = 256,
    MIGRATE_UNSAFE = 512,
    MIGRATE_OFFLINE = 1024,
    MIGRATE_COMPRESSED = 2048,
    MIGRATE_ABORT_ON_ERROR = 4096,
    MIGRATE_AUTO_CONVERGE = 8192,
    MIGRATE_POSTCOPY = 32768,
    MIGRATE_TLS = 65536,
    MIGRATE_PARALLEL = 131072,
    MIGRATE_KNOWN = MIGRATE_LIVE | MIGRATE_PEER2PEER | MIGRATE_PERSIST_DEST |
                    MIGRATE_UNDEFINE_SOURCE | MIGRATE_PAUSED | MIGRATE_CHANGE_PROTECTION |
                    MIGRATE_UNSAFE | MIGRATE_OFFLINE | MIGRATE_COMPRESSED | MIGRATE_ABORT_ON_ERROR |
                    MIGRATE_AUTO_CONVERGE | MIGRATE_POSTCOPY | MIGRATE_TLS | MIGRATE_PARALLEL,
};

/* What the typed parameters of a step say. All borrowed. */
struct migration {
    unsigned flags;
    const char *dest_xml, *dest_name, *uri, *listen, *persist_xml, *tls_destination;
    uint64_t bandwidth; /* MiB/s; 0: no limit of its own */
    int parallel;       /* connections; 0: the emulator's default */
};

/* Refuses flags and parameters that we cannot do. */
int migration_read(const struct rpc_typed_param *params, uint32_t n, unsigned flags,
                   struct migration *ret, struct err **err) MUST_CHECK;

/* Where certificates for encrypted streams are (QEMU's layout), and what we listen on. */
void migration_configure(const char *tls_dir, const char *address, const char *host);

/* ---- source; under the domain's job ---- */

/* *ret_xml and *ret_cookie are owned by the caller. */
int migration_begin(struct domain *d, const struct migration *m, char **ret_xml, char **ret_cookie,
                    struct err **err) MUST_CHECK;
/* Sends everything; afterwards the guest is stopped here. After a failure it goes on. */
int migration_perform(struct domain *d, const struct migration *m, const char *cookie,
                      struct err **err) MUST_CHECK;
/* All steps, with the daemon at dconn as the destination. */
int migration_peer(struct domain *d, const char *dconn, const struct rpc_typed_param *params,
                   uint32_t n_params, const struct migration *m, struct err **err) MUST_CHECK;
int migration_confirm(struct domain *d, const struct migration *m, bool cancelled, struct err **err)
    MUST_CHECK;

/* ---- destination ---- */

/* client: the one whose end ends the half-moved domain; *ret_uri is owned by the caller. */
int migration_prepare(struct world *w, struct client *client, const struct migration *m,
                      const char *cookie, char **ret_uri, char **ret_cookie, struct err **err)
    MUST_CHECK;
/* *ret is counted. */
int migration_finish(struct world *w, const struct migration *m, bool cancelled,
                     struct domain **ret, struct err **err) MUST_CHECK;

/* ---- what both sides share (migration.c) ---- */

char *migration_cookie(const struct domain *d);
/* The other side is another host, and the cookie is of this domain. */
int migration_check_cookie(const struct domain *d, const char *cookie, struct err **err) MUST_CHECK;
/* Capabilities and parameters of the emulator's stream; host: whom the certificate must name. */
int migration_set_up(struct domain *d, const struct migration *m, bool incoming, const char *host,
                     struct err **err) MUST_CHECK;
const char *migration_address(void);
char *migration_host(void);
