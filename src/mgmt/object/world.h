/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * world.h - everything one URI manages: domains and what they use. There is one for qemu:///system
 * (or session) and one for test:///default.
 */
#pragma once

#include "base/err.h"
#include "base/hash.h"
#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

struct domain;
struct driver;
struct server;
struct node;

struct world {
    const struct driver *driver;
    struct server *server;
    bool system;
    char *uri; /* owned; "qemu:///system" */
    /* Folders, owned; NULL for a world that keeps nothing. */
    char *config_dir; /* /etc/vireo */
    char *lib_dir;    /* /var/lib/vireo */
    char *run_dir;    /* /run/vireo */
    char *cache_dir;  /* /var/cache/vireo */
    char *log_dir;    /* /var/log/vireo */
    char *root;       /* owned; what --root was, NULL */

    struct list domains;
    struct hash *by_name, *by_uuid; /* uuid as text */
    unsigned n_domains, n_active;
    int next_id;

    struct list networks, pools, secrets, filters, bindings, interfaces, node_devices;
    void *priv; /* the driver's */
    uint8_t host_uuid[16];
};

struct world *world_new(const struct driver *driver, struct server *server, const char *uri);
struct world *world_free(struct world *w);
DEFINE_CLEANUP(struct world, world_free)

/* Every world of the process; ends with NULL. The registry fills it. */
extern struct world *worlds[8];
