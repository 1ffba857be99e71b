/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/driver/qemu/agent.h"

#include "mgmt/driver/qemu/process.h"
#include "mgmt/object/world.h"
#include "mgmt/server/server.h"
#include "rpc/fault.h"

#include <errno.h>

enum { ANSWER_USEC = 10000000, FREEZE_USEC = 60000000 };

static void agent_gone(void *arg)
{
    struct run *r = arg;

    r->agent = monitor_free(r->agent);
}

static int connect_agent(struct domain *d, struct monitor **ret, struct err **err)
{
    struct run *r = run_of(d);
    struct monitor_spec spec = { .loop = d->world->server->loop,
                                 .fault_domain = DOM_QEMU,
                                 .agent = true,
                                 .closed = agent_gone,
                                 .arg = r };

    if (r->agent_path == NULL) {
        return fault(err, DOM_QEMU, ARGUMENT_UNSUPPORTED, "QEMU guest agent is not configured");
    }
    if (d->state != STATE_RUNNING) {
        return fault(err, DOM_DOMAIN, OPERATION_INVALID, "domain is not running");
    }
    if (!r->agent_connected) {
        return fault(err, DOM_QEMU, AGENT_UNRESPONSIVE, "QEMU guest agent is not connected");
    }
    if (r->agent == NULL) {
        int result;

        spec.fd = process_connect(r->agent_path);
        if (spec.fd < 0) {
            return fault(err, DOM_QEMU, AGENT_UNRESPONSIVE, "QEMU guest agent is not connected");
        }
        result = monitor_new(&spec, &r->agent, err);
        if (result < 0) {
            return result;
        }
    }
    *ret = r->agent;
    return 0;
}

int agent_run_wait(struct domain *d, const char *command, struct json_object *args,
                   uint64_t wait_usec, struct json_object **ret, struct err **err)
{
    struct monitor *agent;
    int r = connect_agent(d, &agent, err);

    if (r < 0) {
        json_object_put(args);
        return r;
    }
    return monitor_run_fd(agent, command, args, -1, wait_usec, ret, err);
}

int agent_run(struct domain *d, const char *command, struct json_object *args,
              struct json_object **ret, struct err **err)
{
    return agent_run_wait(d, command, args, ANSWER_USEC, ret, err);
}

int agent_raw(struct domain *d, const char *text, uint64_t wait_usec, char **ret, struct err **err)
{
    struct monitor *agent;
    int r = connect_agent(d, &agent, err);

    return r == 0 ? monitor_raw(agent, text, wait_usec, ret, err) : r;
}

int agent_freeze(struct domain *d, char *const *mounts, uint32_t n, int *ret, struct err **err)
{
    AUTO_JSON struct json_object *o = NULL;
    struct json_object *a = NULL, *list;
    int r;

    if (n > 0) {
        a = json_object_new_object();
        list = json_object_new_array();
        for (uint32_t i = 0; i < n; i++) {
            json_object_array_add(list, json_object_new_string(mounts[i]));
        }
        (void)json_add(a, "mountpoints", list);
    }
    r = agent_run_wait(d, a != NULL ? "guest-fsfreeze-freeze-list" : "guest-fsfreeze-freeze", a,
                       FREEZE_USEC, &o, err);
    if (ret != NULL) {
        *ret = o != NULL ? json_object_get_int(o) : 0;
    }
    return r;
}

int agent_thaw(struct domain *d, int *ret, struct err **err)
{
    AUTO_JSON struct json_object *o = NULL;
    int r = agent_run_wait(d, "guest-fsfreeze-thaw", NULL, FREEZE_USEC, &o, err);

    if (ret != NULL) {
        *ret = o != NULL ? json_object_get_int(o) : 0;
    }
    return r;
}
