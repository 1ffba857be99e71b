/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pool.h - a storage pool and its volumes. Directories ("dir", and mounted "fs" and "netfs") work;
 * other types are kept as definitions.
 */
#pragma once

#include "base/list.h"
#include "mgmt/model/node.h"
#include "mgmt/model/units.h"

struct world;
struct call;
struct arena;
struct remote_storage_pool;
struct remote_storage_vol;

struct volume {
    struct list link;
    char *name, *path; /* owned; the key is the path */
};

struct pool {
    struct list link;
    struct world *world;
    uint8_t uuid[16];
    char uuid_text[UUID_TEXT_BYTES];
    char *name; /* owned */
    struct node *def, *next;
    bool active, persistent, autostart;
    unsigned jobs; /* that use it now */
    struct list volumes;
    uint64_t capacity, allocation, available;
};

int pool_complete(struct world *w, struct node *def, struct err **err) MUST_CHECK;
int pool_add(struct world *w, struct node *def, struct pool **ret);
void pool_remove(struct pool *p);
struct pool *pool_by_name(struct world *w, const char *name);
struct pool *pool_by_uuid(struct world *w, const uint8_t uuid[16]);
int pool_of_call(struct call *call, const struct remote_storage_pool *wire, struct pool **ret,
                 struct err **err);
/* The same, and it must be active. */
int pool_active_of_call(struct call *call, const struct remote_storage_pool *wire, struct pool **ret,
                        struct err **err);
void pool_to_wire(const struct pool *p, struct arena *a, struct remote_storage_pool *ret);
const char *pool_path(const struct pool *p);
struct node *pool_config(const struct pool *p);
int pool_save(struct pool *p, struct err **err) MUST_CHECK;
void pool_emit(struct pool *p, int event);
void pool_emit_refresh(struct pool *p);
int pool_start(struct pool *p, struct err **err) MUST_CHECK;
void pool_stop(struct pool *p);
int pool_refresh(struct pool *p, struct err **err) MUST_CHECK;
char *pool_xml(const struct pool *p, bool inactive);
void pool_load_all(struct world *w);

struct volume *volume_by_name(struct pool *p, const char *name);
int volume_of_call(struct call *call, const struct remote_storage_vol *wire, struct pool **ret_pool,
                   struct volume **ret, struct err **err);
void volume_to_wire(const struct pool *p, const struct volume *v, struct arena *a,
                    struct remote_storage_vol *ret);
int volume_add(struct pool *p, const char *name, struct volume **ret);
void volume_forget(struct volume *v);
char *volume_xml(const struct volume *v, struct err **err);
