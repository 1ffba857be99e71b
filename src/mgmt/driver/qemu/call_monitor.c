/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_monitor.c - the emulator's own commands and events, and the guest agent's, handed through.
 */
#include "mgmt/daemon/calls.h"
#include "mgmt/driver/qemu/agent.h"
#include "mgmt/driver/qemu/handlers.h"
#include "mgmt/driver/qemu/process.h"
#include "mgmt/server/event.h"

#include <errno.h>

enum { MONITOR_HMP = 1, AGENT_BLOCK = -2, AGENT_DEFAULT = -1, AGENT_NOWAIT = 0, AGENT_SECONDS = 5 };

int qemu_domain_monitor_command(struct call *call,
                                const struct qemu_domain_monitor_command_args *args,
                                struct qemu_domain_monitor_command_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    AUTO_FREE char *text = NULL;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_job_begin(d, "remoteDispatchDomainMonitorCommand", err) : r;
    if (r < 0) {
        return r;
    }
    r = domain_check_active(d, err);
    if (r == 0 && (args->flags & MONITOR_HMP)) {
        struct json_object *a = json_object_new_object();
        AUTO_JSON struct json_object *v = NULL;

        (void)json_add_str(a, "command-line", args->cmd);
        r = monitor_run(run_of(d)->qmp, "human-monitor-command", a, &v, err);
        if (r == 0) {
            text = strdup(json_object_get_string(v));
        }
    } else if (r == 0) {
        r = monitor_raw(run_of(d)->qmp, args->cmd, MONITOR_WAIT_USEC, &text, err);
    }
    domain_job_end(d);
    if (r == 0) {
        ret->result = arena_strdup(&call->arena, text != NULL ? text : "");
    }
    return r;
}

int qemu_domain_agent_command(struct call *call, const struct qemu_domain_agent_command_args *args,
                              struct qemu_domain_agent_command_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    AUTO_FREE char *text = NULL;
    uint64_t wait = args->timeout == AGENT_BLOCK     ? UINT64_MAX / 2
                    : args->timeout == AGENT_DEFAULT ? (uint64_t)AGENT_SECONDS * 1000000
                                                     : (uint64_t)args->timeout * 1000000;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_check_active(d, err) : r;
    r = r == 0 ? agent_raw(d, args->cmd, wait, &text, err) : r;
    if (r == 0) {
        ret->result = arena_strdup(&call->arena, text);
    }
    return r;
}

int qemu_connect_domain_monitor_event_register(
    struct call *call, const struct qemu_connect_domain_monitor_event_register_args *args,
    struct qemu_connect_domain_monitor_event_register_ret *ret, struct err **err)
{
    char text[UUID_TEXT_BYTES];
    struct subscription_spec spec = { .class = EVENT_MONITOR,
                                      .pattern = args->event,
                                      .pattern_flags = args->flags };
    int r;

    if (args->dom != NULL) {
        uuid_format(args->dom->uuid, text);
        spec.object = text;
    }
    r = event_subscribe(call->client, &spec, err);
    ret->callbackID = r;
    return r < 0 ? r : 0;
}

int qemu_connect_domain_monitor_event_deregister(
    struct call *call, const struct qemu_connect_domain_monitor_event_deregister_args *args,
    struct err **err)
{
    return event_unsubscribe(call->client, EVENT_MONITOR, args->callbackID) < 0
               ? fault(err, DOM_RPC, INTERNAL_ERROR, "monitor event callback %d not registered",
                       args->callbackID)
               : 0;
}
