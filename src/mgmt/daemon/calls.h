/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * calls.h - the tables of calls that all drivers have in common, one an area, and small helpers.
 */
#pragma once

#include "mgmt/server/client.h"
#include "rpc/fault.h"
#include "rpc/protocol/qemu.h"
#include "rpc/protocol/remote.h"

struct remote_ops;
struct qemu_ops;
struct admin_ops;

extern const struct remote_ops calls_connect, calls_auth, calls_event, calls_domain, calls_node,
    calls_network, calls_pool, calls_volume, calls_secret, calls_nodedev, calls_interface,
    calls_nwfilter;
extern const struct admin_ops calls_admin;

/* What the administrators see. */
void admin_set_servers(struct server *main_server, struct server *admin_server);

/* The server's: connect_supports_feature. */
int feature_answer(int feature);

/* Refuses flags that the call does not know, as libvirt does. */
int flags_check(struct call *call, unsigned flags, unsigned known, struct err **err);

/* Adds to a reply's list of typed parameters, in the call's arena. */
struct params {
    struct arena *arena;
    struct rpc_typed_param *list;
    uint32_t n, room;
    bool failed;
};
void params_int(struct params *p, const char *field, int32_t v);
void params_uint(struct params *p, const char *field, uint32_t v);
void params_llong(struct params *p, const char *field, int64_t v);
void params_ullong(struct params *p, const char *field, uint64_t v);
void params_double(struct params *p, const char *field, double v);
void params_bool(struct params *p, const char *field, bool v);
void params_str(struct params *p, const char *field, const char *v);
const struct rpc_typed_param *params_find(const struct rpc_typed_param *list, uint32_t n,
                                          const char *field);
