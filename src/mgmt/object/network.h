/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * network.h - a virtual network: its definitions, its bridge, who is on it.
 */
#pragma once

#include "base/list.h"
#include "mgmt/model/node.h"
#include "mgmt/model/units.h"

#include <sys/types.h>

struct world;
struct remote_network;
struct call;
struct arena;

struct network {
    struct list link;
    struct world *world;
    uint8_t uuid[16];
    char uuid_text[UUID_TEXT_BYTES];
    char *name;              /* owned */
    struct node *def, *next; /* as a domain's */
    bool active, persistent, autostart;
    unsigned connections;
    pid_t dnsmasq;
};

int network_add(struct world *w, struct node *def, struct network **ret);
void network_remove(struct network *n);
struct network *network_by_name(struct world *w, const char *name);
struct network *network_by_uuid(struct world *w, const uint8_t uuid[16]);
int network_of_call(struct call *call, const struct remote_network *wire, struct network **ret,
                    struct err **err);
void network_to_wire(const struct network *n, struct arena *a, struct remote_network *ret);
const char *network_bridge(const struct network *n);
struct node *network_config(const struct network *n);
int network_save(struct network *n, struct err **err);
void network_emit(struct network *n, int event);

/* Fills in a definition: uuid, bridge, addresses' masks. */
int network_complete(struct world *w, struct node *def, struct err **err) MUST_CHECK;
/* Bridge, addresses, firewall, dnsmasq. */
int network_start(struct network *n, struct err **err) MUST_CHECK;
void network_stop(struct network *n);
void network_load_all(struct world *w);
void network_autostart_all(struct world *w);

/* A domain's NIC comes and goes. */
int network_join(struct world *w, struct node *nic, struct network **ret, struct err **err)
    MUST_CHECK;
void network_leave(struct world *w, struct node *nic);
void network_rejoin_all(struct world *w, const struct node *domain);
