/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cpu.c - the guest CPU: modes and their defaults, topology. */
#include "mgmt/model/domain/domain.h"

#include "rpc/fault.h"

#include <errno.h>

static int topology(const struct node *def, const struct node *cpu, struct err **err)
{
    struct node *t = node_child(cpu, "topology");
    uint64_t n;

    if (t == NULL) {
        return 0;
    }
    if (node_attr(t, "sockets") == NULL || node_attr(t, "cores") == NULL ||
        node_attr(t, "threads") == NULL) {
        return fault(err, DOM_CPU, XML_ERROR, "Missing required attribute '%s' in element '%s'",
                     node_attr(t, "sockets") == NULL ? "sockets"
                     : node_attr(t, "cores") == NULL ? "cores"
                                                     : "threads",
                     "topology");
    }
    if (node_attr(t, "dies") == NULL && node_set_attr(t, "dies", "1") < 0) {
        return -ENOMEM;
    }
    n = node_get_u64(t, "@sockets", 1) * node_get_u64(t, "@dies", 1) *
        node_get_u64(t, "@cores", 1) * node_get_u64(t, "@threads", 1);
    if (n != node_get_u64(def, "vcpu", 1)) {
        return fault(err, DOM_QEMU, CONFIG_UNSUPPORTED,
                     "CPU topology doesn't match maximum vcpu count");
    }
    return 0;
}

int cpu_complete(struct node *def, const struct domain_facts *f, struct err **err)
{
    struct node *cpu = node_child(def, "cpu");
    const char *mode, *dflt;
    const char *emulator = node_get(def, "devices/emulator");

    dflt = f->default_cpu != NULL
               ? f->default_cpu(f->arg, emulator, node_get(def, "os/type/@machine"))
               : NULL;
    if (cpu == NULL) {
        if (dflt == NULL) {
            return 0;
        }
        cpu = node_need(def, "cpu");
        return cpu == NULL || node_set(cpu, "@mode", "custom") < 0 ||
                       node_set(cpu, "@match", "exact") < 0 ||
                       node_set(cpu, "@check", "none") < 0 || node_set(cpu, "model", dflt) < 0 ||
                       node_set(cpu, "model/@fallback", "forbid") < 0
                   ? -ENOMEM
                   : 0;
    }
    mode = node_attr(cpu, "mode");
    if (mode == NULL) {
        if (node_child(cpu, "model") == NULL && dflt != NULL) {
            if (node_set(cpu, "@mode", "custom") < 0 || node_set(cpu, "@match", "exact") < 0 ||
                node_set(cpu, "@check", "none") < 0 || node_set(cpu, "model", dflt) < 0 ||
                node_set(cpu, "model/@fallback", "forbid") < 0) {
                return -ENOMEM;
            }
            return topology(def, cpu, err);
        }
        if (node_set(cpu, "@mode", "custom") < 0) {
            return -ENOMEM;
        }
        mode = "custom";
    }
    if (str_eq(mode, "custom")) {
        if (node_attr(cpu, "match") == NULL && node_set(cpu, "@match", "exact") < 0) {
            return -ENOMEM;
        }
        if (node_child(cpu, "model") != NULL && node_get(cpu, "model/@fallback") == NULL &&
            node_set(cpu, "model/@fallback", "allow") < 0) {
            return -ENOMEM;
        }
        if (node_attr(cpu, "check") == NULL &&
            node_set(cpu, "@check",
                     node_is(cpu, "model", "qemu64") || node_is(cpu, "model", "qemu32") ||
                             node_is(cpu, "model", "max")
                         ? "none"
                         : "partial") < 0) {
            return -ENOMEM;
        }
    } else {
        if (str_eq(mode, "host-model")) {
            if (node_attr(cpu, "check") == NULL && node_set(cpu, "@check", "partial") < 0) {
                return -ENOMEM;
            }
        } else if (node_attr(cpu, "check") == NULL && node_set(cpu, "@check", "none") < 0) {
            return -ENOMEM;
        }
        if (!str_eq(mode, "host-model") && node_attr(cpu, "migratable") == NULL &&
            node_set(cpu, "@migratable", "on") < 0) {
            return -ENOMEM;
        }
        (void)node_set(cpu, "@match", NULL);
    }
    for (struct node *ft = node_child(cpu, "feature"); ft != NULL; ft = node_next(ft, "feature")) {
        if (node_attr(ft, "name") == NULL) {
            return fault(err, DOM_CPU, XML_ERROR, "Missing required attribute '%s' in element '%s'",
                         "name", "feature");
        }
        if (node_attr(ft, "policy") == NULL && node_set(ft, "@policy", "require") < 0) {
            return -ENOMEM;
        }
    }
    return topology(def, cpu, err);
}
