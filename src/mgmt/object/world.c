/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/object/world.h"

#include "mgmt/driver/driver.h"
#include "mgmt/object/domain.h"

#include <stdlib.h>
#include <string.h>

struct world *worlds[8];

struct world *world_new(const struct driver *driver, struct server *server, const char *uri)
{
    struct world *w = calloc(1, sizeof(*w));

    if (w == NULL) {
        return NULL;
    }
    w->driver = driver;
    w->server = server;
    w->next_id = 1;
    list_init(&w->domains);
    list_init(&w->networks);
    list_init(&w->pools);
    list_init(&w->secrets);
    list_init(&w->filters);
    list_init(&w->bindings);
    list_init(&w->interfaces);
    list_init(&w->node_devices);
    w->by_name = hash_new();
    w->by_uuid = hash_new();
    w->uri = strdup(uri);
    if (w->by_name == NULL || w->by_uuid == NULL || w->uri == NULL) {
        return world_free(w);
    }
    return w;
}

struct world *world_free(struct world *w)
{
    if (w == NULL) {
        return NULL;
    }
    LIST_FOREACH_SAFE (&w->domains, it) {
        domain_remove(CONTAINER_OF(it, struct domain, link));
    }
    hash_free(w->by_name);
    hash_free(w->by_uuid);
    free(w->uri);
    free(w->config_dir);
    free(w->lib_dir);
    free(w->run_dir);
    free(w->cache_dir);
    free(w->log_dir);
    free(w->root);
    free(w);
    return NULL;
}
