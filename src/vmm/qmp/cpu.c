/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cpu.c - QMP commands about CPUs (schema/cpu.json). */
#include "base/str.h"
#include "vmm/accel/cpuid.h"
#include "vmm/machine/machine.h"
#include "vmm/qmp/command.h"

int qmp_do_query_cpus_fast(struct machine *m, struct json_object *args, struct json_object **ret,
                           struct err **err)
{
    (void)args;
    (void)err;
    *ret = json_object_new_array();
    for (unsigned i = 0; i < m->n_vcpus; i++) {
        struct json_object *cpu = json_object_new_object();
        struct json_object *props = json_object_new_object();
        AUTO_FREE char *path = str_format("/machine/unattached/device[%u]", i);

        (void)json_add_i64(cpu, "cpu-index", i);
        (void)json_add_str(cpu, "qom-path", path != NULL ? path : "");
        (void)json_add_i64(cpu, "thread-id", m->vcpus[i].tid);
        (void)json_add_str(cpu, "target", "x86_64");
        (void)json_add_i64(props, "core-id", i);
        (void)json_add_i64(props, "thread-id", 0);
        (void)json_add_i64(props, "socket-id", 0);
        (void)json_add(cpu, "props", props);
        (void)json_object_array_add(*ret, cpu);
    }
    return 0;
}

int qmp_do_query_kvm(struct machine *m, struct json_object *args, struct json_object **ret,
                     struct err **err)
{
    (void)args;
    (void)err;
    *ret = json_object_new_object();
    (void)json_add_bool(*ret, "enabled", m->accel != NULL && m->accel->p == &accel_kernel);
    (void)json_add_bool(*ret, "present", true);
    return 0;
}

int qmp_do_query_cpu_definitions(struct machine *m, struct json_object *args,
                                 struct json_object **ret, struct err **err)
{
    (void)m;
    (void)args;
    (void)err;
    *ret = json_object_new_array();
    for (const struct cpu_model_def *d = cpu_models; d->name != NULL; d++) {
        struct json_object *def = json_object_new_object();
        AUTO_FREE char *type = str_format("%s-x86_64-cpu", d->name);

        (void)json_add_str(def, "name", d->name);
        (void)json_add_str(def, "typename", type != NULL ? type : "");
        (void)json_add_bool(def, "static", false);
        (void)json_add_bool(def, "migration-safe", !d->everything);
        (void)json_add_bool(def, "deprecated", false);
        (void)json_object_array_add(*ret, def);
    }
    return 0;
}

int qmp_do_query_hotpluggable_cpus(struct machine *m, struct json_object *args,
                                   struct json_object **ret, struct err **err)
{
    (void)args;
    (void)err;
    *ret = json_object_new_array();
    for (unsigned i = 0; i < m->n_vcpus; i++) {
        struct json_object *o = json_object_new_object();
        struct json_object *props = json_object_new_object();
        AUTO_FREE char *path = str_format("/machine/unattached/device[%u]", i);

        (void)json_add_i64(props, "core-id", i);
        (void)json_add_i64(props, "thread-id", 0);
        (void)json_add_i64(props, "socket-id", 0);
        (void)json_add(o, "props", props);
        (void)json_add_i64(o, "vcpus-count", 1);
        (void)json_add_str(o, "qom-path", path != NULL ? path : "");
        (void)json_add_str(o, "type", "qemu64-x86_64-cpu");
        (void)json_object_array_add(*ret, o);
    }
    return 0;
}

int qmp_do_query_iothreads(struct machine *m, struct json_object *args, struct json_object **ret,
                           struct err **err)
{
    (void)m;
    (void)args;
    (void)err;
    *ret = json_object_new_array();
    return 0;
}
