/* SPDX-License-Identifier: GPL-2.0-or-later */
/* choose.c - which accelerator runs the guest, and why. */
#include "vmm/accel/accel.h"

#include "base/str.h"
#include "vmm/accel/probe.h"

#include <errno.h>
#include <string.h>

static int choose_best(const struct accel_provider **ret, char **ret_why)
{
    struct probe_result result;

    probe_run_cached(&accel_kernel, &result);
    if (result.ok) {
        *ret = &accel_kernel;
        *ret_why = strdup("the kernel's KVM runs the guest: its test passed");
    } else {
        *ret = &accel_library;
        *ret_why = str_format("Vireo's own engine runs the guest, as the kernel's KVM cannot: %s",
                              result.why);
    }
    return *ret_why != NULL ? 0 : -ENOMEM;
}

int accel_choose(const char *name, const struct accel_provider **ret, char **ret_why,
                 struct err **err)
{
    /* "kvm:tcg", as in older command lines: the first that works. */
    if (name == NULL || strchr(name, ':') != NULL) {
        return choose_best(ret, ret_why);
    }
    if (str_eq(name, "kvm")) {
        *ret = &accel_kernel;
    } else if (str_eq(name, "vireo") || str_eq(name, "tcg")) {
        *ret = &accel_library;
    } else {
        return err_set(err, EINVAL, "'%s' is no accelerator of ours: kvm, vireo (alias tcg)", name);
    }
    *ret_why = NULL;
    return 0;
}

const struct accel_provider *const accel_providers[] = {
    &accel_kernel,
    &accel_library,
    NULL,
};
