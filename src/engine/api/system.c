/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* system.c - the requests of the system handle (KVM api.rst, "system ioctls"). */
#include "engine/api/handle.h"
#include "engine/api/vcpu.h"

#include <errno.h>
#include <string.h>

static int api_version(void *unused, void *arg)
{
    (void)unused;
    return arg == NULL ? KVM_API_VERSION : -EINVAL;
}

static int mmap_size(void *unused, void *arg)
{
    (void)unused;
    return arg == NULL ? VCPU_MMAP_PAGES * 4096 : -EINVAL;
}

static int check_extension(void *unused, void *cap)
{
    (void)unused;
    return caps_check(NULL, (unsigned long)(uintptr_t)cap);
}

static int mce_caps(void *unused, void *arg)
{
    uint64_t caps = 1ull << 8 | 1ull << 24; /* MCG_CTL_P, MCG_SER_P */

    (void)unused;
    memcpy(arg, &caps, sizeof(caps));
    return 0;
}

const struct request system_requests[] = {
    { KVM_GET_API_VERSION, api_version },
    { KVM_CREATE_VM, vm_create },
    { KVM_CHECK_EXTENSION, check_extension },
    { KVM_GET_VCPU_MMAP_SIZE, mmap_size },
    { KVM_GET_SUPPORTED_CPUID, system_get_supported_cpuid },
    { KVM_GET_EMULATED_CPUID, system_get_emulated_cpuid },
    { KVM_GET_MSR_INDEX_LIST, system_get_msr_index_list },
    { KVM_GET_MSR_FEATURE_INDEX_LIST, system_get_msr_feature_list },
    { KVM_GET_MSRS, system_get_msrs },
    { KVM_X86_GET_MCE_CAP_SUPPORTED, mce_caps },
    { 0, NULL },
};
