/* SPDX-License-Identifier: GPL-2.0-or-later */
/* features.c - CPUID feature bits by QEMU's names (SDM 2A, CPUID; APM 3, appendix E). */
#include "vmm/accel/cpuid.h"

#include "base/str.h"

const struct cpu_feature *cpu_feature_find(const char *name)
{
    for (const struct cpu_feature *f = cpu_features; f->name != NULL; f++) {
        const char *a = f->name;
        const char *b = name;

        /* '-', '_' and '.' are the same: sse4_1, sse4-1 and sse4.1. */
        while (*a != '\0' && (*a == *b || (strchr("-_.", *a) && *b && strchr("-_.", *b)))) {
            a++;
            b++;
        }
        if (*a == '\0' && *b == '\0') {
            return f;
        }
    }
    return NULL;
}

/* clang-format off */
const struct cpu_feature cpu_features[] = {
    { "fpu", W_1_EDX, 0 }, { "vme", W_1_EDX, 1 }, { "de", W_1_EDX, 2 }, { "pse", W_1_EDX, 3 },
    { "tsc", W_1_EDX, 4 }, { "msr", W_1_EDX, 5 }, { "pae", W_1_EDX, 6 }, { "mce", W_1_EDX, 7 },
    { "cx8", W_1_EDX, 8 }, { "apic", W_1_EDX, 9 }, { "sep", W_1_EDX, 11 },
    { "mtrr", W_1_EDX, 12 }, { "pge", W_1_EDX, 13 }, { "mca", W_1_EDX, 14 },
    { "cmov", W_1_EDX, 15 }, { "pat", W_1_EDX, 16 }, { "pse36", W_1_EDX, 17 },
    { "pn", W_1_EDX, 18 }, { "clflush", W_1_EDX, 19 }, { "ds", W_1_EDX, 21 },
    { "acpi", W_1_EDX, 22 }, { "mmx", W_1_EDX, 23 }, { "fxsr", W_1_EDX, 24 },
    { "sse", W_1_EDX, 25 }, { "sse2", W_1_EDX, 26 }, { "ss", W_1_EDX, 27 },
    { "ht", W_1_EDX, 28 }, { "tm", W_1_EDX, 29 }, { "pbe", W_1_EDX, 31 },

    { "pni", W_1_ECX, 0 }, { "sse3", W_1_ECX, 0 }, { "pclmulqdq", W_1_ECX, 1 },
    { "pclmuldq", W_1_ECX, 1 }, { "dtes64", W_1_ECX, 2 }, { "monitor", W_1_ECX, 3 },
    { "vmx", W_1_ECX, 5 }, { "smx", W_1_ECX, 6 }, { "est", W_1_ECX, 7 },
    { "tm2", W_1_ECX, 8 }, { "ssse3", W_1_ECX, 9 }, { "fma", W_1_ECX, 12 },
    { "cx16", W_1_ECX, 13 }, { "pdcm", W_1_ECX, 15 }, { "pcid", W_1_ECX, 17 },
    { "dca", W_1_ECX, 18 }, { "sse4.1", W_1_ECX, 19 }, { "sse4.2", W_1_ECX, 20 },
    { "x2apic", W_1_ECX, 21 }, { "movbe", W_1_ECX, 22 }, { "popcnt", W_1_ECX, 23 },
    { "tsc-deadline", W_1_ECX, 24 }, { "aes", W_1_ECX, 25 }, { "xsave", W_1_ECX, 26 },
    { "avx", W_1_ECX, 28 }, { "f16c", W_1_ECX, 29 }, { "rdrand", W_1_ECX, 30 },
    { "hypervisor", W_1_ECX, 31 },

    { "fsgsbase", W_7_EBX, 0 }, { "tsc-adjust", W_7_EBX, 1 }, { "sgx", W_7_EBX, 2 },
    { "bmi1", W_7_EBX, 3 }, { "hle", W_7_EBX, 4 }, { "avx2", W_7_EBX, 5 },
    { "smep", W_7_EBX, 7 }, { "bmi2", W_7_EBX, 8 }, { "erms", W_7_EBX, 9 },
    { "invpcid", W_7_EBX, 10 }, { "rtm", W_7_EBX, 11 }, { "mpx", W_7_EBX, 14 },
    { "avx512f", W_7_EBX, 16 }, { "avx512dq", W_7_EBX, 17 }, { "rdseed", W_7_EBX, 18 },
    { "adx", W_7_EBX, 19 }, { "smap", W_7_EBX, 20 }, { "avx512ifma", W_7_EBX, 21 },
    { "clflushopt", W_7_EBX, 23 }, { "clwb", W_7_EBX, 24 }, { "intel-pt", W_7_EBX, 25 },
    { "avx512pf", W_7_EBX, 26 }, { "avx512er", W_7_EBX, 27 }, { "avx512cd", W_7_EBX, 28 },
    { "sha-ni", W_7_EBX, 29 }, { "avx512bw", W_7_EBX, 30 }, { "avx512vl", W_7_EBX, 31 },

    { "avx512vbmi", W_7_ECX, 1 }, { "umip", W_7_ECX, 2 }, { "pku", W_7_ECX, 3 },
    { "ospke", W_7_ECX, 4 }, { "waitpkg", W_7_ECX, 5 }, { "avx512vbmi2", W_7_ECX, 6 },
    { "gfni", W_7_ECX, 8 }, { "vaes", W_7_ECX, 9 }, { "vpclmulqdq", W_7_ECX, 10 },
    { "avx512vnni", W_7_ECX, 11 }, { "avx512bitalg", W_7_ECX, 12 },
    { "avx512-vpopcntdq", W_7_ECX, 14 }, { "la57", W_7_ECX, 16 }, { "rdpid", W_7_ECX, 22 },
    { "bus-lock-detect", W_7_ECX, 24 }, { "cldemote", W_7_ECX, 25 }, { "movdiri", W_7_ECX, 27 },
    { "movdir64b", W_7_ECX, 28 }, { "pks", W_7_ECX, 31 },

    { "avx512-4vnniw", W_7_EDX, 2 }, { "avx512-4fmaps", W_7_EDX, 3 }, { "fsrm", W_7_EDX, 4 },
    { "avx512-vp2intersect", W_7_EDX, 8 }, { "md-clear", W_7_EDX, 10 },
    { "serialize", W_7_EDX, 14 }, { "tsx-ldtrk", W_7_EDX, 16 }, { "amx-bf16", W_7_EDX, 22 },
    { "avx512-fp16", W_7_EDX, 23 }, { "amx-tile", W_7_EDX, 24 }, { "amx-int8", W_7_EDX, 25 },
    { "spec-ctrl", W_7_EDX, 26 }, { "stibp", W_7_EDX, 27 }, { "flush-l1d", W_7_EDX, 28 },
    { "arch-capabilities", W_7_EDX, 29 }, { "core-capability", W_7_EDX, 30 },
    { "ssbd", W_7_EDX, 31 },
    { "avx-vnni", W_7_1_EAX, 4 }, { "avx512-bf16", W_7_1_EAX, 5 }, { "fzrm", W_7_1_EAX, 10 },
    { "fsrs", W_7_1_EAX, 11 }, { "fsrc", W_7_1_EAX, 12 },
    { "xsaveopt", W_D_1_EAX, 0 }, { "xsavec", W_D_1_EAX, 1 }, { "xgetbv1", W_D_1_EAX, 2 },
    { "xsaves", W_D_1_EAX, 3 }, { "xfd", W_D_1_EAX, 4 },

    { "syscall", W_81_EDX, 11 }, { "nx", W_81_EDX, 20 }, { "mmxext", W_81_EDX, 22 },
    { "fxsr-opt", W_81_EDX, 25 }, { "pdpe1gb", W_81_EDX, 26 }, { "rdtscp", W_81_EDX, 27 },
    { "lm", W_81_EDX, 29 }, { "3dnowext", W_81_EDX, 30 }, { "3dnow", W_81_EDX, 31 },
    { "lahf-lm", W_81_ECX, 0 }, { "cmp-legacy", W_81_ECX, 1 }, { "svm", W_81_ECX, 2 },
    { "extapic", W_81_ECX, 3 }, { "cr8legacy", W_81_ECX, 4 }, { "abm", W_81_ECX, 5 },
    { "lzcnt", W_81_ECX, 5 }, { "sse4a", W_81_ECX, 6 }, { "misalignsse", W_81_ECX, 7 },
    { "3dnowprefetch", W_81_ECX, 8 }, { "osvw", W_81_ECX, 9 }, { "ibs", W_81_ECX, 10 },
    { "xop", W_81_ECX, 11 }, { "skinit", W_81_ECX, 12 }, { "wdt", W_81_ECX, 13 },
    { "fma4", W_81_ECX, 16 }, { "tce", W_81_ECX, 17 }, { "tbm", W_81_ECX, 21 },
    { "topoext", W_81_ECX, 22 }, { "perfctr-core", W_81_ECX, 23 },
    { "invtsc", W_87_EDX, 8 },
    { "clzero", W_88_EBX, 0 }, { "xsaveerptr", W_88_EBX, 2 }, { "wbnoinvd", W_88_EBX, 9 },
    { "ibpb", W_88_EBX, 12 }, { "ibrs", W_88_EBX, 14 }, { "amd-stibp", W_88_EBX, 15 },
    { "amd-ssbd", W_88_EBX, 24 }, { "virt-ssbd", W_88_EBX, 25 }, { "amd-no-ssb", W_88_EBX, 26 },
    { "arat", W_6_EAX, 2 },

    { "kvmclock", W_KVM_EAX, 3 }, { "kvm-nopiodelay", W_KVM_EAX, 1 },
    { "kvm-asyncpf", W_KVM_EAX, 4 }, { "kvm-steal-time", W_KVM_EAX, 5 },
    { "kvm-pv-eoi", W_KVM_EAX, 6 }, { "kvm-pv-unhalt", W_KVM_EAX, 7 },
    { "kvm-pv-tlb-flush", W_KVM_EAX, 9 }, { "kvm-pv-ipi", W_KVM_EAX, 11 },
    { "kvm-poll-control", W_KVM_EAX, 12 }, { "kvm-pv-sched-yield", W_KVM_EAX, 13 },
    { "kvm-asyncpf-int", W_KVM_EAX, 14 }, { "kvmclock-stable-bit", W_KVM_EAX, 24 },
    { NULL, W_1_EDX, 0 },
};
/* clang-format on */
