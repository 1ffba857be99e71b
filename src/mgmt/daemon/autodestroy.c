/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/daemon/autodestroy.h"

#include "base/log.h"
#include "mgmt/driver/driver.h"
#include "mgmt/server/client.h"
#include "mgmt/server/worker.h"
#include "rpc/fault.h"

int autodestroy_set(struct domain *d, struct client *c, struct err **err)
{
    if (c->fd < 0) {
        return fault(err, DOM_DOMAIN, OPERATION_ABORTED, "the client of domain '%s' is gone",
                     d->name);
    }
    d->autodestroy = c;
    return 0;
}

static void destroy_now(void *arg)
{
    AUTO_DOMAIN struct domain *d = arg;
    CLEANUP(err_freep) struct err *err = NULL;

    if (d->world == NULL || !domain_active(d)) {
        return;
    }
    if (d->world->driver->destroy(d, &err) < 0) {
        log_warn("domain '%s' did not end with its client: %s", d->name,
                 err != NULL ? err->text : "");
    }
}

void autodestroy_client_gone(struct client *c)
{
    for (size_t i = 0; worlds[i] != NULL; i++) {
        LIST_FOREACH (&worlds[i]->domains, it) {
            struct domain *d = CONTAINER_OF(it, struct domain, link);

            if (d->autodestroy != c) {
                continue;
            }
            d->autodestroy = NULL;
            if (worker_run(destroy_now, domain_ref(d), false) < 0) {
                domain_unref(d);
            }
        }
    }
}
