/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_event.c - registering for events, of each kind and of both generations. */
#include "mgmt/daemon/calls.h"
#include "mgmt/model/units.h"
#include "mgmt/server/event.h"
#include "mgmt/server/remote-ops.h"

#include <errno.h>

static int subscribe(struct call *call, enum event_class class, int event, const uint8_t *uuid,
                     const char *name, bool legacy, int32_t *ret_id, struct err **err)
{
    char text[UUID_TEXT_BYTES];
    struct subscription_spec spec = {
        .class = class, .event = event, .legacy = legacy, .object = name
    };
    int r;

    if (uuid != NULL) {
        uuid_format(uuid, text);
        spec.object = text;
    }
    r = event_subscribe(call->client, &spec, err);
    if (r < 0) {
        return r;
    }
    if (ret_id != NULL) {
        *ret_id = r;
    }
    return 0;
}

static int unsubscribe(struct call *call, enum event_class class, int id, struct err **err)
{
    return event_unsubscribe(call->client, class, id) < 0
               ? fault(err, DOM_RPC, INTERNAL_ERROR, "%s event callback %d not registered",
                       class == EVENT_DOMAIN ? "domain" : "object", id)
               : 0;
}

static int known_event(struct call *call, int event, int end, struct err **err)
{
    (void)call;
    return event < 0 || event >= end
               ? fault(err, DOM_RPC, INTERNAL_ERROR, "unsupported event ID %d", event)
               : 0;
}

static int old_register(struct call *call, struct remote_connect_domain_event_register_ret *ret,
                        struct err **err)
{
    int r = subscribe(call, EVENT_DOMAIN, DOMAIN_EVENT_LIFECYCLE, NULL, NULL, true, NULL, err);

    ret->cb_registered = 1;
    return r;
}

static int old_deregister(struct call *call, struct remote_connect_domain_event_deregister_ret *ret,
                          struct err **err)
{
    ret->cb_registered = 0;
    return event_unsubscribe_legacy(call->client, DOMAIN_EVENT_LIFECYCLE) < 0
               ? fault(err, DOM_RPC, INTERNAL_ERROR, "domain event %d not registered", 0)
               : 0;
}

static int old_register_any(struct call *call,
                            const struct remote_connect_domain_event_register_any_args *args,
                            struct err **err)
{
    int r = known_event(call, args->eventID, DOMAIN_EVENT_BLOCK_JOB_2, err);

    return r == 0 ? subscribe(call, EVENT_DOMAIN, args->eventID, NULL, NULL, true, NULL, err) : r;
}

static int old_deregister_any(struct call *call,
                              const struct remote_connect_domain_event_deregister_any_args *args,
                              struct err **err)
{
    return event_unsubscribe_legacy(call->client, args->eventID) < 0
               ? fault(err, DOM_RPC, INTERNAL_ERROR, "domain event %d not registered",
                       args->eventID)
               : 0;
}

static int
domain_register(struct call *call,
                const struct remote_connect_domain_event_callback_register_any_args *args,
                struct remote_connect_domain_event_callback_register_any_ret *ret, struct err **err)
{
    int r = known_event(call, args->eventID, _DOMAIN_EVENT_END, err);

    return r == 0 ? subscribe(call, EVENT_DOMAIN, args->eventID,
                              args->dom != NULL ? args->dom->uuid : NULL, NULL, false,
                              &ret->callbackID, err)
                  : r;
}

static int
domain_deregister(struct call *call,
                  const struct remote_connect_domain_event_callback_deregister_any_args *args,
                  struct err **err)
{
    return unsubscribe(call, EVENT_DOMAIN, args->callbackID, err);
}

#define UUID_CLASS(name, class_, events, member)                                                 \
    static int name##_register(                                                                  \
        struct call *call, const struct remote_connect_##name##_event_register_any_args *args,   \
        struct remote_connect_##name##_event_register_any_ret *ret, struct err **err)            \
    {                                                                                            \
        int r = known_event(call, args->eventID, events, err);                                   \
                                                                                                 \
        return r == 0 ? subscribe(call, class_, args->eventID,                                   \
                                  args->member != NULL ? args->member->uuid : NULL, NULL, false, \
                                  &ret->callbackID, err)                                         \
                      : r;                                                                       \
    }                                                                                            \
    static int name##_deregister(                                                                \
        struct call *call, const struct remote_connect_##name##_event_deregister_any_args *args, \
        struct err **err)                                                                        \
    {                                                                                            \
        return unsubscribe(call, class_, args->callbackID, err);                                 \
    }

UUID_CLASS(network, EVENT_NETWORK, 2, net)
UUID_CLASS(storage_pool, EVENT_POOL, 2, pool)
UUID_CLASS(secret, EVENT_SECRET, 2, secret)

static int nodedev_register(struct call *call,
                            const struct remote_connect_node_device_event_register_any_args *args,
                            struct remote_connect_node_device_event_register_any_ret *ret,
                            struct err **err)
{
    int r = known_event(call, args->eventID, 2, err);

    return r == 0
               ? subscribe(call, EVENT_NODE_DEVICE, args->eventID, NULL,
                           args->dev != NULL ? args->dev->name : NULL, false, &ret->callbackID, err)
               : r;
}

static int
nodedev_deregister(struct call *call,
                   const struct remote_connect_node_device_event_deregister_any_args *args,
                   struct err **err)
{
    return unsubscribe(call, EVENT_NODE_DEVICE, args->callbackID, err);
}

const struct remote_ops calls_event = {
    .connect_domain_event_register = old_register,
    .connect_domain_event_deregister = old_deregister,
    .connect_domain_event_register_any = old_register_any,
    .connect_domain_event_deregister_any = old_deregister_any,
    .connect_domain_event_callback_register_any = domain_register,
    .connect_domain_event_callback_deregister_any = domain_deregister,
    .connect_network_event_register_any = network_register,
    .connect_network_event_deregister_any = network_deregister,
    .connect_storage_pool_event_register_any = storage_pool_register,
    .connect_storage_pool_event_deregister_any = storage_pool_deregister,
    .connect_secret_event_register_any = secret_register,
    .connect_secret_event_deregister_any = secret_deregister,
    .connect_node_device_event_register_any = nodedev_register,
    .connect_node_device_event_deregister_any = nodedev_deregister,
};
