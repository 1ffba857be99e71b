/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_connect.c - opening a connection, and what it says about itself. */
#include "base/str.h"
#include "mgmt/daemon/calls.h"
#include "mgmt/driver/driver.h"
#include "mgmt/server/remote-ops.h"

#include <errno.h>
#include <unistd.h>

enum { LIB_VERSION = 9000000, OPEN_RO = 1 };

/* Of the migration protocols, the third with parameters; not: direct, v1, remote. */
static const uint32_t features_yes = 1u << 3 | 1u << 4 | 1u << 6 | 1u << 7 | 1u << 8 | 1u << 9 |
                                     1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14 |
                                     1u << 15 | 1u << 16;

int feature_answer(int feature)
{
    return feature >= 0 && feature < 32 && (features_yes >> feature & 1);
}

/* "qemu:///system" and "qemu:///session" name the world of this daemon; "test:///default" the test
 * world. */
static struct world *world_for(const char *uri)
{
    size_t len = strcspn(uri, ":");

    for (size_t i = 0; worlds[i] != NULL; i++) {
        const char *scheme = worlds[i]->driver->scheme;

        if (strlen(scheme) == len && memcmp(scheme, uri, len) == 0) {
            const char *path = uri[len] == ':' ? uri + len + 1 : "";

            while (path[0] == '/' && path[1] == '/') {
                path++;
            }
            if (str_eq(scheme, "test")) {
                return str_eq(path, "/default") ? worlds[i] : NULL;
            }
            return str_eq(path, worlds[i]->system ? "/system" : "/session") ||
                           str_eq(path, "/session") || str_eq(path, "") || str_eq(path, "/")
                       ? worlds[i]
                       : NULL;
        }
    }
    return NULL;
}

static int open_connection(struct call *call, const struct remote_connect_open_args *args,
                           struct err **err)
{
    struct client *c = call->client;
    const char *name = args->name;
    struct world *w;

    if (c->world != NULL) {
        return fault(err, DOM_RPC, INTERNAL_ERROR, "connection already open");
    }
    if (name == NULL) {
        return fault(err, DOM_RPC, INTERNAL_ERROR, "connection not open");
    }
    w = *name == '\0' ? worlds[0] : world_for(name);
    if (w == NULL) {
        return fault(err, DOM_NONE, NO_CONNECT, "%s", name);
    }
    free(c->uri);
    c->uri = strdup(w->uri);
    if (c->uri == NULL) {
        return -ENOMEM;
    }
    c->readonly |= (args->flags & OPEN_RO) != 0;
    c->world = w;
    return 0;
}

static int close_connection(struct call *call, struct err **err)
{
    (void)call;
    (void)err;
    return 0;
}

static int get_type(struct call *call, struct remote_connect_get_type_ret *ret, struct err **err)
{
    (void)err;
    ret->type_ = arena_strdup(&call->arena, call->world->driver->type);
    return 0;
}

static int get_version(struct call *call, struct remote_connect_get_version_ret *ret,
                       struct err **err)
{
    (void)err;
    ret->hv_ver = call->world->driver->version(call->world);
    return 0;
}

static int get_lib_version(struct call *call, struct remote_connect_get_lib_version_ret *ret,
                           struct err **err)
{
    (void)call;
    (void)err;
    ret->lib_ver = LIB_VERSION;
    return 0;
}

static int get_hostname(struct call *call, struct remote_connect_get_hostname_ret *ret,
                        struct err **err)
{
    char name[256];

    if (gethostname(name, sizeof(name)) < 0) {
        return err_set(err, errno, "failed to determine host name");
    }
    name[sizeof(name) - 1] = '\0';
    ret->hostname = arena_strdup(&call->arena, name);
    return 0;
}

static int get_uri(struct call *call, struct remote_connect_get_uri_ret *ret, struct err **err)
{
    (void)err;
    ret->uri = arena_strdup(&call->arena, call->client->uri);
    return 0;
}

static int is_secure(struct call *call, struct remote_connect_is_secure_ret *ret, struct err **err)
{
    struct client *c = call->client;

    (void)err;
    ret->secure = c->address == NULL || c->tls != NULL || c->sasl_user != NULL;
    return 0;
}

static int supports_feature(struct call *call,
                            const struct remote_connect_supports_feature_args *args,
                            struct remote_connect_supports_feature_ret *ret, struct err **err)
{
    (void)err;
    ret->supported = feature_answer(args->feature);
    if (args->feature == 10) {
        client_wants_keepalive(call->client);
    }
    return 0;
}

static int get_capabilities(struct call *call, struct remote_connect_get_capabilities_ret *ret,
                            struct err **err)
{
    AUTO_FREE char *xml = call->world->driver->capabilities(call->world, err);

    if (xml == NULL) {
        return err != NULL && *err != NULL ? -(*err)->code : -ENOMEM;
    }
    ret->capabilities = arena_strdup(&call->arena, xml);
    return ret->capabilities != NULL ? 0 : -ENOMEM;
}

static int get_domain_capabilities(struct call *call,
                                   const struct remote_connect_get_domain_capabilities_args *args,
                                   struct remote_connect_get_domain_capabilities_ret *ret,
                                   struct err **err)
{
    AUTO_FREE char *xml = NULL;

    if (call->world->driver->domain_capabilities == NULL) {
        return fault(err, DOM_DOMAIN, NO_SUPPORT, "%s", call_api_name(call));
    }
    xml = call->world->driver->domain_capabilities(call->world, args->emulatorbin, args->arch,
                                                   args->machine, args->virttype, err);
    if (xml == NULL) {
        return err != NULL && *err != NULL ? -(*err)->code : -ENOMEM;
    }
    ret->capabilities = arena_strdup(&call->arena, xml);
    return ret->capabilities != NULL ? 0 : -ENOMEM;
}

static int get_max_vcpus(struct call *call, const struct remote_connect_get_max_vcpus_args *args,
                         struct remote_connect_get_max_vcpus_ret *ret, struct err **err)
{
    (void)err;
    ret->max_vcpus = str_eq(call->world->driver->scheme, "test")                  ? 32
                     : args->type_ != NULL && strcasecmp(args->type_, "kvm") == 0 ? 1024
                                                                                  : 16;
    return 0;
}

static int set_identity(struct call *call, const struct remote_connect_set_identity_args *args,
                        struct err **err)
{
    (void)args;
    return call->client->uid == 0 && call->client->address == NULL
               ? 0
               : fault(err, DOM_RPC, OPERATION_DENIED, "only root may hand on an identity");
}

static int register_close(struct call *call, struct err **err)
{
    (void)err;
    call->client->wants_close_event = true;
    return 0;
}

static int unregister_close(struct call *call, struct err **err)
{
    (void)err;
    call->client->wants_close_event = false;
    return 0;
}

const struct remote_ops calls_connect = {
    .connect_open = open_connection,
    .connect_close = close_connection,
    .connect_get_type = get_type,
    .connect_get_version = get_version,
    .connect_get_lib_version = get_lib_version,
    .connect_get_hostname = get_hostname,
    .connect_get_uri = get_uri,
    .connect_is_secure = is_secure,
    .connect_supports_feature = supports_feature,
    .connect_get_capabilities = get_capabilities,
    .connect_get_domain_capabilities = get_domain_capabilities,
    .connect_get_max_vcpus = get_max_vcpus,
    .connect_set_identity = set_identity,
    .connect_register_close_callback = register_close,
    .connect_unregister_close_callback = unregister_close,
};
