/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/cli/help.h"

#include "base/log.h"
#include "vmm/accel/cpuid.h"
#include "vmm/accel/probe.h"
#include "vmm/dev/device.h"
#include "vmm/dev/virtio/virtio.h"
#include "vmm/machine/class.h"

#include <errno.h>
#include <stdio.h>

void help_version(void)
{
    (void)printf("Vireo emulator version %s\n", VIREO_VERSION);
}

void help_machines(void)
{
    (void)printf("Supported machines are:\n");
    for (const struct machine_class *const *c = machine_classes; *c != NULL; c++) {
        (void)printf("%-20s %s%s\n", (*c)->name, (*c)->desc,
                     c == machine_classes ? " (default)" : "");
    }
}

void help_cpus(void)
{
    cpu_model_print_help(stdout);
}

void help_devices(void)
{
    for (const struct device_class *const *c = device_classes; *c != NULL; c++) {
        if (!(*c)->internal) {
            (void)printf("name \"%s\", bus %s, desc \"%s\"\n", (*c)->name, (*c)->bus, (*c)->desc);
        }
    }
}

static void print_options(const struct opt *o)
{
    for (; o != NULL && o->name != NULL; o++) {
        (void)printf("  %s=<%s>%*s - %s%s%s%s\n", o->name, opt_kind_name(o->kind), 0, "", o->help,
                     o->dflt != NULL ? " (default: " : "", o->dflt != NULL ? o->dflt : "",
                     o->dflt != NULL ? ")" : "");
    }
}

int help_device(const char *name, struct err **err)
{
    const struct device_class *c = device_class_find(name);

    if (c == NULL || c->internal) {
        return err_set(err, ENODEV, "'%s' is no device of ours", name);
    }
    (void)printf("%s options:\n", c->name);
    print_options(c->opts);
    return 0;
}

void help_accels(void)
{
    (void)printf("Accelerators:\n");
    for (const struct accel_provider *const *p = accel_providers; *p != NULL; p++) {
        struct probe_result result;

        probe_run(*p, &result);
        (void)printf("%-8s %-50s %s\n", (*p)->name, (*p)->desc, result.ok ? "works" : result.why);
    }
}
