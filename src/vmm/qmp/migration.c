/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migration.c - QMP commands about moving a machine's state (schema/migration.json). */
#include "base/str.h"
#include "vmm/machine/machine.h"
#include "vmm/qmp/command.h"
#include "vmm/qmp/hmp.h"

#include <errno.h>

/* "events" is true: state changes are told. */
int qmp_do_query_migrate_capabilities(struct machine *m, struct json_object *args,
                                      struct json_object **ret, struct err **err)
{
    struct json_object *o = json_object_new_object();

    (void)m;
    (void)args;
    (void)err;
    *ret = json_object_new_array();
    (void)json_add_str(o, "capability", "events");
    (void)json_add_bool(o, "state", true);
    (void)json_object_array_add(*ret, o);
    return 0;
}

int qmp_do_migrate_set_capabilities(struct machine *m, struct json_object *args,
                                    struct json_object **ret, struct err **err)
{
    struct json_object *list = json_member(args, "capabilities");

    (void)m;
    (void)ret;
    if (!json_object_is_type(list, json_type_array)) {
        return err_set(err, EINVAL, "Invalid parameter type for 'capabilities', expected: array");
    }
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *o = json_object_array_get_idx(list, i);
        const char *name = NULL;
        bool state = false;

        if (json_get_str(o, "capability", &name, err) < 0 ||
            json_get_bool(o, "state", &state, err) < 0) {
            return -EINVAL;
        }
        if (state && !str_eq(name, "events")) {
            return err_set(err, ENOTSUP, "Capability '%s' is not supported", name);
        }
    }
    return 0;
}

int qmp_do_query_migrate(struct machine *m, struct json_object *args, struct json_object **ret,
                         struct err **err)
{
    const struct migration *mig = &m->migration;

    (void)args;
    (void)err;
    *ret = json_object_new_object();
    if (mig->status == MIGRATE_NONE) {
        return 0;
    }
    (void)json_add_str(*ret, "status", migrate_status_name(mig->status));
    if (mig->error != NULL && mig->status == MIGRATE_FAILED) {
        (void)json_add_str(*ret, "error-desc", mig->error);
    }
    if (mig->status >= MIGRATE_ACTIVE) {
        static const char *const zeroes[] = { "remaining", "duplicate",         "skipped",
                                              "normal",    "normal-bytes",      "dirty-pages-rate",
                                              "page-size", "postcopy-requests", "multifd-bytes" };
        struct json_object *ram = json_object_new_object();

        (void)json_add_u64(ram, "total", m->ram_bytes);
        (void)json_add_u64(ram, "transferred", mig->bytes);
        (void)json_add_i64(ram, "dirty-sync-count", 1);
        (void)json_add(ram, "mbps", json_object_new_double(0));
        for (size_t i = 0; i < sizeof(zeroes) / sizeof(zeroes[0]); i++) {
            (void)json_add_i64(ram, zeroes[i], 0);
        }
        (void)json_add(*ret, "ram", ram);
        (void)json_add_u64(*ret, "total-time", mig->total_msec);
        (void)json_add_u64(*ret, "setup-time", 0);
        (void)json_add_u64(*ret,
                           mig->status == MIGRATE_COMPLETED ? "downtime" : "expected-downtime",
                           mig->total_msec);
    }
    return 0;
}

int qmp_do_migrate(struct machine *m, struct json_object *args, struct json_object **ret,
                   struct err **err)
{
    const char *uri = NULL;
    bool flag = false;

    (void)ret;
    (void)!json_get_str(args, "uri", &uri, NULL);
    if ((json_get_bool(args, "blk", &flag, NULL) == 0 && flag) ||
        (json_get_bool(args, "inc", &flag, NULL) == 0 && flag)) {
        return err_set(err, ENOTSUP, "migration of images is not supported");
    }
    return migrate_out(m, uri, err);
}

int qmp_do_migrate_incoming(struct machine *m, struct json_object *args, struct json_object **ret,
                            struct err **err)
{
    const char *uri = NULL;

    (void)ret;
    (void)!json_get_str(args, "uri", &uri, NULL);
    if (m->state != RUN_INMIGRATE || m->migration.status != MIGRATE_NONE) {
        return err_set(err, EINVAL, "'-incoming' was not specified on the command line");
    }
    return migrate_in(m, uri, err);
}

int qmp_do_migrate_cancel(struct machine *m, struct json_object *args, struct json_object **ret,
                          struct err **err)
{
    (void)m;
    (void)args;
    (void)ret;
    (void)err;
    return 0; /* by the time a command is read the copying has ended */
}

int qmp_do_migrate_set_parameters(struct machine *m, struct json_object *args,
                                  struct json_object **ret, struct err **err)
{
    (void)ret;
    (void)err;
    (void)!json_get_i64(args, "max-bandwidth", &m->max_bandwidth, NULL);
    (void)!json_get_i64(args, "downtime-limit", &m->downtime_limit, NULL);
    return 0;
}

int qmp_do_query_migrate_parameters(struct machine *m, struct json_object *args,
                                    struct json_object **ret, struct err **err)
{
    (void)args;
    (void)err;
    *ret = json_object_new_object();
    (void)json_add_i64(*ret, "max-bandwidth", m->max_bandwidth);
    (void)json_add_i64(*ret, "downtime-limit", m->downtime_limit);
    return 0;
}

int qmp_do_human_monitor_command(struct machine *m, struct json_object *args,
                                 struct json_object **ret, struct err **err)
{
    const char *line = NULL;
    AUTO_FREE char *out = NULL;

    (void)!json_get_str(args, "command-line", &line, NULL);
    out = hmp_run(m, line);
    if (out == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    *ret = json_object_new_string(out);
    return 0;
}
