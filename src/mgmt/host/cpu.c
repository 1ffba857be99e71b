/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpu.c - the host's features by CPUID (SDM 2A, CPUID), under the names that libvirt and QEMU
 * share.
 *
 * The nearest model is the newest whose telling features are all there.
 */
#include "mgmt/host/cpu.h"

#include <cpuid.h>
#include <stdio.h>

struct feature {
    const char *name;
    uint32_t leaf, sub;
    char reg;
    unsigned bit;
};

static const struct feature features[];
static const size_t n_features;

static bool has(const struct feature *f)
{
    uint32_t a, b, c, d;
    uint32_t v;

    if (__get_cpuid_max(f->leaf & 0x80000000u, NULL) < f->leaf) {
        return false;
    }
    __cpuid_count(f->leaf, f->sub, a, b, c, d);
    v = f->reg == 'a' ? a : f->reg == 'b' ? b : f->reg == 'c' ? c : d;
    return v >> f->bit & 1;
}

bool host_cpu_has(const char *name)
{
    for (size_t i = 0; i < n_features; i++) {
        if (str_eq(features[i].name, name)) {
            return has(&features[i]);
        }
    }
    return false;
}

void host_cpu_features(void (*fn)(const char *name, void *arg), void *arg)
{
    for (size_t i = 0; i < n_features; i++) {
        if (has(&features[i])) {
            fn(features[i].name, arg);
        }
    }
}

const char *host_cpu_vendor(void)
{
    uint32_t a, b, c, d;

    __cpuid(0, a, b, c, d);
    return b == 0x756e6547 ? "Intel" : b == 0x68747541 ? "AMD" : "unknown";
}

const char *host_cpu_model(void)
{
    static const struct {
        const char *vendor, *model;
        const char *need[5];
    } models[] = {
        { "Intel", "SapphireRapids", { "amx-tile", "avx512f" } },
        { "Intel", "Icelake-Server-noTSX", { "avx512vbmi2", "avx512vnni" } },
        { "Intel", "Cascadelake-Server-noTSX", { "avx512vnni", "avx512f" } },
        { "Intel", "Skylake-Server-noTSX-IBRS", { "avx512f", "pku" } },
        { "Intel", "Skylake-Client-noTSX-IBRS", { "xsavec", "avx2" } },
        { "Intel", "Broadwell-noTSX-IBRS", { "adx", "rdseed" } },
        { "Intel", "Haswell-noTSX-IBRS", { "avx2", "bmi2" } },
        { "Intel", "IvyBridge", { "f16c", "rdrand" } },
        { "Intel", "SandyBridge", { "avx", "pclmuldq" } },
        { "Intel", "Westmere", { "aes", "sse4.2" } },
        { "AMD", "EPYC-Milan", { "pku", "vaes", "fsrm" } },
        { "AMD", "EPYC-Rome", { "clwb", "umip", "rdpid" } },
        { "AMD", "EPYC", { "sha-ni", "avx2" } },
        { "AMD", "Opteron_G5", { "fma4", "xop" } },
    };

    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        bool all = str_eq(models[i].vendor, host_cpu_vendor());

        for (size_t k = 0; all && models[i].need[k] != NULL; k++) {
            all = host_cpu_has(models[i].need[k]);
        }
        if (all) {
            return models[i].model;
        }
    }
    return "qemu64";
}

const char *host_cpu_model_vendor(const char *model)
{
    static const char *const amd[] = { "EPYC", "Opteron", "phenom", "athlon", "Dhyana" };
    static const char *const none[] = { "qemu", "kvm", "max" };

    for (size_t i = 0; i < sizeof(amd) / sizeof(amd[0]); i++) {
        if (str_starts(model, amd[i])) {
            return str_eq(amd[i], "Dhyana") ? "Hygon" : "AMD";
        }
    }
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        if (str_starts(model, none[i])) {
            return "unknown";
        }
    }
    return "Intel";
}

struct out {
    struct strbuf *b;
    unsigned indent;
    const char *policy;
};

static void put(const char *name, void *arg)
{
    struct out *o = arg;

    strbuf_printf(o->b, "%*s<feature %sname='%s'/>\n", (int)o->indent, "", o->policy, name);
}

void host_cpu_xml(struct strbuf *b, unsigned indent)
{
    struct out o = { .b = b, .indent = indent + 2, .policy = "" };
    int i = (int)indent;
    uint32_t a, bx, c, d;
    unsigned family, model;

    __cpuid(1, a, bx, c, d);
    family = (a >> 8 & 15) + ((a >> 8 & 15) == 15 ? a >> 20 & 255 : 0);
    model = (a >> 4 & 15) | (a >> 16 & 15) << 4;
    strbuf_printf(b, "%*s<cpu>\n%*s  <arch>x86_64</arch>\n%*s  <model>%s</model>\n", i, "", i, "",
                  i, "", host_cpu_model());
    strbuf_printf(b, "%*s  <vendor>%s</vendor>\n", i, "", host_cpu_vendor());
    strbuf_printf(b, "%*s  <signature family='%u' model='%u' stepping='%u'/>\n", i, "", family,
                  model, a & 15);
    {
        long n = sysconf(_SC_NPROCESSORS_ONLN);

        strbuf_printf(b, "%*s  <topology sockets='1' dies='1' cores='%ld' threads='1'/>\n", i, "",
                      n);
    }
    strbuf_printf(b, "%*s  <maxphysaddr mode='emulate' bits='%u'/>\n", i, "",
                  __get_cpuid(0x80000008, &a, &bx, &c, &d) ? a & 255 : 36);
    host_cpu_features(put, &o);
    strbuf_printf(
        b, "%*s  <pages unit='KiB' size='4'/>\n%*s  <pages unit='KiB' size='2048'/>\n%*s</cpu>\n",
        i, "", i, "", i, "");
}

void host_cpu_model_xml(struct strbuf *b, unsigned indent)
{
    struct out o = { .b = b, .indent = indent, .policy = "policy='require' " };
    int i = (int)indent;

    strbuf_printf(b, "%*s<model fallback='forbid'>%s</model>\n%*s<vendor>%s</vendor>\n", i, "",
                  host_cpu_model(), i, "", host_cpu_vendor());
    if (host_cpu_has("hypervisor")) {
        put("hypervisor", &o);
    }
}

static const struct feature features[] = {
    { "vme", 1, 0, 'd', 1 },
    { "ds", 1, 0, 'd', 21 },
    { "acpi", 1, 0, 'd', 22 },
    { "ss", 1, 0, 'd', 27 },
    { "ht", 1, 0, 'd', 28 },
    { "tm", 1, 0, 'd', 29 },
    { "pbe", 1, 0, 'd', 31 },
    { "pclmuldq", 1, 0, 'c', 1 },
    { "dtes64", 1, 0, 'c', 2 },
    { "monitor", 1, 0, 'c', 3 },
    { "ds_cpl", 1, 0, 'c', 4 },
    { "vmx", 1, 0, 'c', 5 },
    { "smx", 1, 0, 'c', 6 },
    { "est", 1, 0, 'c', 7 },
    { "tm2", 1, 0, 'c', 8 },
    { "ssse3", 1, 0, 'c', 9 },
    { "fma", 1, 0, 'c', 12 },
    { "cx16", 1, 0, 'c', 13 },
    { "xtpr", 1, 0, 'c', 14 },
    { "pdcm", 1, 0, 'c', 15 },
    { "pcid", 1, 0, 'c', 17 },
    { "dca", 1, 0, 'c', 18 },
    { "sse4.1", 1, 0, 'c', 19 },
    { "sse4.2", 1, 0, 'c', 20 },
    { "x2apic", 1, 0, 'c', 21 },
    { "movbe", 1, 0, 'c', 22 },
    { "popcnt", 1, 0, 'c', 23 },
    { "tsc-deadline", 1, 0, 'c', 24 },
    { "aes", 1, 0, 'c', 25 },
    { "xsave", 1, 0, 'c', 26 },
    { "osxsave", 1, 0, 'c', 27 },
    { "avx", 1, 0, 'c', 28 },
    { "f16c", 1, 0, 'c', 29 },
    { "rdrand", 1, 0, 'c', 30 },
    { "hypervisor", 1, 0, 'c', 31 },
    { "arat", 6, 0, 'a', 2 },
    { "fsgsbase", 7, 0, 'b', 0 },
    { "tsc_adjust", 7, 0, 'b', 1 },
    { "bmi1", 7, 0, 'b', 3 },
    { "hle", 7, 0, 'b', 4 },
    { "avx2", 7, 0, 'b', 5 },
    { "smep", 7, 0, 'b', 7 },
    { "bmi2", 7, 0, 'b', 8 },
    { "erms", 7, 0, 'b', 9 },
    { "invpcid", 7, 0, 'b', 10 },
    { "rtm", 7, 0, 'b', 11 },
    { "mpx", 7, 0, 'b', 14 },
    { "avx512f", 7, 0, 'b', 16 },
    { "avx512dq", 7, 0, 'b', 17 },
    { "rdseed", 7, 0, 'b', 18 },
    { "adx", 7, 0, 'b', 19 },
    { "smap", 7, 0, 'b', 20 },
    { "avx512ifma", 7, 0, 'b', 21 },
    { "clflushopt", 7, 0, 'b', 23 },
    { "clwb", 7, 0, 'b', 24 },
    { "avx512cd", 7, 0, 'b', 28 },
    { "sha-ni", 7, 0, 'b', 29 },
    { "avx512bw", 7, 0, 'b', 30 },
    { "avx512vl", 7, 0, 'b', 31 },
    { "avx512vbmi", 7, 0, 'c', 1 },
    { "umip", 7, 0, 'c', 2 },
    { "pku", 7, 0, 'c', 3 },
    { "ospke", 7, 0, 'c', 4 },
    { "avx512vbmi2", 7, 0, 'c', 6 },
    { "gfni", 7, 0, 'c', 8 },
    { "vaes", 7, 0, 'c', 9 },
    { "vpclmulqdq", 7, 0, 'c', 10 },
    { "avx512vnni", 7, 0, 'c', 11 },
    { "avx512bitalg", 7, 0, 'c', 12 },
    { "avx512-vpopcntdq", 7, 0, 'c', 14 },
    { "la57", 7, 0, 'c', 16 },
    { "rdpid", 7, 0, 'c', 22 },
    { "cldemote", 7, 0, 'c', 25 },
    { "movdiri", 7, 0, 'c', 27 },
    { "movdir64b", 7, 0, 'c', 28 },
    { "fsrm", 7, 0, 'd', 4 },
    { "md-clear", 7, 0, 'd', 10 },
    { "serialize", 7, 0, 'd', 14 },
    { "amx-bf16", 7, 0, 'd', 22 },
    { "avx512-fp16", 7, 0, 'd', 23 },
    { "amx-tile", 7, 0, 'd', 24 },
    { "amx-int8", 7, 0, 'd', 25 },
    { "spec-ctrl", 7, 0, 'd', 26 },
    { "stibp", 7, 0, 'd', 27 },
    { "arch-capabilities", 7, 0, 'd', 29 },
    { "ssbd", 7, 0, 'd', 31 },
    { "avx-vnni", 7, 1, 'a', 4 },
    { "avx512-bf16", 7, 1, 'a', 5 },
    { "xsaveopt", 13, 1, 'a', 0 },
    { "xsavec", 13, 1, 'a', 1 },
    { "xgetbv1", 13, 1, 'a', 2 },
    { "xsaves", 13, 1, 'a', 3 },
    { "lahf_lm", 0x80000001, 0, 'c', 0 },
    { "cmp_legacy", 0x80000001, 0, 'c', 1 },
    { "svm", 0x80000001, 0, 'c', 2 },
    { "abm", 0x80000001, 0, 'c', 5 },
    { "sse4a", 0x80000001, 0, 'c', 6 },
    { "misalignsse", 0x80000001, 0, 'c', 7 },
    { "3dnowprefetch", 0x80000001, 0, 'c', 8 },
    { "xop", 0x80000001, 0, 'c', 11 },
    { "fma4", 0x80000001, 0, 'c', 16 },
    { "topoext", 0x80000001, 0, 'c', 22 },
    { "syscall", 0x80000001, 0, 'd', 11 },
    { "nx", 0x80000001, 0, 'd', 20 },
    { "mmxext", 0x80000001, 0, 'd', 22 },
    { "fxsr_opt", 0x80000001, 0, 'd', 25 },
    { "pdpe1gb", 0x80000001, 0, 'd', 26 },
    { "rdtscp", 0x80000001, 0, 'd', 27 },
    { "lm", 0x80000001, 0, 'd', 29 },
    { "invtsc", 0x80000007, 0, 'd', 8 },
    { "wbnoinvd", 0x80000008, 0, 'b', 9 },
    { "ibpb", 0x80000008, 0, 'b', 12 },
};
static const size_t n_features = sizeof(features) / sizeof(features[0]);
