/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * config.h - the command line, and the configuration file with libvirtd.conf's keys.
 */
#pragma once

#include "base/err.h"
#include "mgmt/server/server.h"

struct settings {
    enum server_auth auth_unix, auth_tcp, auth_tls;
    unsigned unix_mode;
    bool listen_tcp, listen_tls;
    char *listen_addr; /* owned; NULL: all */
    uint16_t tcp_port, tls_port;
    unsigned max_clients, keepalive_interval, keepalive_count;
    char *pki_dir;                                              /* owned */
    char *host_uuid;                                            /* owned */
    char *migrate_tls_dir, *migration_address, *migration_host; /* owned; NULL: the defaults */
};

struct options {
    bool system, as_libvirtd;
    const char *socket, *root, *config;
    char *libvirt_dir; /* owned; where libvirt's clients look */
    unsigned timeout_seconds;
    struct settings settings;
};

/* 1: all is done (--help, --version). */
int options_parse(int argc, char **argv, struct options *ret, struct err **err);
