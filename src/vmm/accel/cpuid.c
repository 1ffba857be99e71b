/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpuid.c - a CPU model becomes CPUID leaves: what the accelerator supports, cut down to the model
 * and the user's +feat and -feat, with identity and topology put in.
 */
#include "vmm/accel/cpuid.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/str.h"
#include "vmm/accel/accel.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <string.h>

enum { MAX_ENTRIES = 256, DEFAULT_PHYS_BITS = 40 };
#define KVM_LEAF     0x40000000u
#define KVM_FEATURES 0x40000001u
#define EXT_LEAF     0x80000000u
#define HYPERVISOR   (1u << 31) /* leaf 1, ecx */
#define TSC_DEADLINE (1u << 24)
#define X2APIC       (1u << 21)
#define OSXSAVE      (1u << 27)
#define HTT          (1u << 28) /* leaf 1, edx */

struct word_place {
    uint32_t leaf;
    uint32_t subleaf;
    unsigned reg; /* 0 eax ... 3 edx */
};

static const struct word_place places[_W_MAX] = {
    [W_1_EDX] = { 1, 0, 3 },
    [W_1_ECX] = { 1, 0, 2 },
    [W_7_EBX] = { 7, 0, 1 },
    [W_7_ECX] = { 7, 0, 2 },
    [W_7_EDX] = { 7, 0, 3 },
    [W_7_1_EAX] = { 7, 1, 0 },
    [W_D_1_EAX] = { 0xd, 1, 0 },
    [W_81_EDX] = { 0x80000001u, 0, 3 },
    [W_81_ECX] = { 0x80000001u, 0, 2 },
    [W_87_EDX] = { 0x80000007u, 0, 3 },
    [W_88_EBX] = { 0x80000008u, 0, 1 },
    [W_6_EAX] = { 6, 0, 0 },
    [W_KVM_EAX] = { KVM_FEATURES, 0, 0 },
};

struct leaves {
    struct kvm_cpuid2 h;
    struct kvm_cpuid_entry2 e[MAX_ENTRIES];
};

static uint32_t *reg_of(struct kvm_cpuid_entry2 *e, unsigned reg)
{
    uint32_t *regs[] = { &e->eax, &e->ebx, &e->ecx, &e->edx };

    return regs[reg];
}

static struct kvm_cpuid_entry2 *find(struct leaves *l, uint32_t leaf, uint32_t subleaf)
{
    for (uint32_t i = 0; i < l->h.nent; i++) {
        struct kvm_cpuid_entry2 *e = &l->e[i];

        if (e->function == leaf &&
            ((e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) == 0 || e->index == subleaf)) {
            return e;
        }
    }
    return NULL;
}

static struct kvm_cpuid_entry2 *find_or_add(struct leaves *l, uint32_t leaf)
{
    struct kvm_cpuid_entry2 *e = find(l, leaf, 0);

    if (e == NULL && l->h.nent < MAX_ENTRIES) {
        e = &l->e[l->h.nent++];
        *e = (struct kvm_cpuid_entry2) { .function = leaf };
    }
    return e;
}

static void drop(struct leaves *l, uint32_t leaf)
{
    uint32_t to = 0;

    for (uint32_t i = 0; i < l->h.nent; i++) {
        if (l->e[i].function != leaf) {
            l->e[to++] = l->e[i];
        }
    }
    l->h.nent = to;
}

static void set_word(uint32_t words[_W_MAX], const struct cpu_feature *f, bool on)
{
    if (on) {
        words[f->word] |= 1u << f->bit;
    } else {
        words[f->word] &= ~(1u << f->bit);
    }
}

static void apply_list(uint32_t words[_W_MAX], const char *list, bool on)
{
    while (list != NULL && *list != '\0') {
        size_t len = strcspn(list, " ");
        AUTO_FREE char *name = strndup(list, len);
        const struct cpu_feature *f = name != NULL ? cpu_feature_find(name) : NULL;

        if (f != NULL) {
            set_word(words, f, on);
        }
        list += len + strspn(list + len, " ");
    }
}

static void words_of(const struct cpu_model_def *def, uint32_t words[_W_MAX])
{
    const struct cpu_model_def *parent = def->parent != NULL ? cpu_model_find(def->parent) : NULL;

    if (parent != NULL) {
        words_of(parent, words);
    }
    apply_list(words, def->add, true);
    apply_list(words, def->remove, false);
}

/* family=N and its like; *ret_known: is it one of these? */
static int set_number(struct cpu_model *m, const char *key, const char *value, bool *ret_known,
                      struct err **err)
{
    static const struct {
        const char *name;
        unsigned min, max;
    } numbers[] = {
        { "family", 0, 0xff + 0xf },   { "model", 0, 0xff },          { "stepping", 0, 0xf },
        { "level", 1, 0x1f },          { "xlevel", 0x80000000u, 0x8000ffffu },
        { "phys-bits", 32, 52 },       { "host-phys-bits-limit", 32, 52 },
    };
    unsigned *places_of[] = { &m->own.family, &m->own.model,  &m->own.stepping,
                              &m->own.level,  &m->own.xlevel, &m->own.phys_bits,
                              &m->own.phys_bits };

    *ret_known = false;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        char *end;
        unsigned long v;

        if (!str_eq(numbers[i].name, key)) {
            continue;
        }
        *ret_known = true;
        errno = 0;
        v = strtoul(value, &end, 0);
        if (*value == '\0' || *end != '\0' || errno != 0 || v < numbers[i].min ||
            v > numbers[i].max) {
            return err_set(err, EINVAL, "CPU property '%s' is a number from %u to %u, not '%s'",
                           key, numbers[i].min, numbers[i].max, value);
        }
        *places_of[i] = (unsigned)v;
        m->own.has_family |= i == 0;
        m->own.has_model |= i == 1;
        m->own.has_stepping |= i == 2;
        return 0;
    }
    return 0;
}

static int set_property(struct cpu_model *m, const char *key, const char *value, struct err **err)
{
    const struct cpu_feature *f = cpu_feature_find(key);
    bool known;
    bool on;
    int r = set_number(m, key, value, &known, err);

    if (r < 0 || known) {
        return r;
    }
    if (str_eq(key, "vendor")) {
        if (strlen(value) != 12) {
            return err_set(err, EINVAL, "a CPU's vendor has 12 characters, not '%s'", value);
        }
        memcpy(m->own.vendor, value, 13);
        return 0;
    }
    if (str_eq(key, "model-id")) {
        (void)snprintf(m->own.brand, sizeof(m->own.brand), "%s", value);
        return 0;
    }
    if (str_eq(key, "kvm") || str_eq(key, "check") || str_eq(key, "enforce") ||
        str_eq(key, "migratable") || str_eq(key, "host-cache-info") || str_eq(key, "pmu") ||
        str_eq(key, "l3-cache") || str_eq(key, "host-phys-bits") || f != NULL) {
        if (str_to_bool(value, &on) < 0) {
            return err_set(err, EINVAL, "CPU property '%s' is on or off, not '%s'", key, value);
        }
        if (f != NULL) {
            set_word(m->plus, f, on);
            set_word(m->minus, f, !on);
        } else if (str_eq(key, "kvm")) {
            m->kvm_hidden = !on;
        } else if (str_eq(key, "enforce")) {
            m->enforce = on;
        } else if (str_eq(key, "host-phys-bits")) {
            m->own.phys_bits = on ? 0 : m->own.phys_bits != 0 ? m->own.phys_bits : DEFAULT_PHYS_BITS;
        }
        return 0;
    }
    return err_set(err, EINVAL, "'%s' is no CPU property of ours", key);
}

int cpu_model_parse(const char *text, unsigned n_cpus, struct cpu_model **ret, struct err **err)
{
    CLEANUP(cpu_model_freep) struct cpu_model *m = calloc(1, sizeof(*m));
    size_t len = strcspn(text, ",");
    AUTO_FREE char *name = strndup(text, len);

    if (m == NULL || name == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    if (str_ends(name, "-x86_64-cpu")) {
        name[strlen(name) - strlen("-x86_64-cpu")] = '\0';
    }
    m->n_cpus = n_cpus;
    m->def = cpu_model_find(name);
    if (m->def == NULL) {
        return err_set(err, EINVAL, "'%s' is no CPU model of ours: see -cpu help", name);
    }
    words_of(m->def, m->words);
    while (text[len] == ',') {
        AUTO_FREE char *item = NULL;
        char *eq;
        int r;

        text += len + 1;
        len = strcspn(text, ",");
        item = strndup(text, len);
        if (item == NULL) {
            return err_set(err, ENOMEM, "no memory");
        }
        eq = strchr(item, '=');
        if (item[0] == '+' || item[0] == '-') {
            r = set_property(m, item + 1, item[0] == '+' ? "on" : "off", err);
        } else if (eq != NULL) {
            *eq = '\0';
            r = set_property(m, item, eq + 1, err);
        } else {
            r = set_property(m, item, "on", err);
        }
        if (r < 0) {
            return r;
        }
    }
    *ret = TAKE_PTR(m);
    return 0;
}

struct cpu_model *cpu_model_free(struct cpu_model *model)
{
    free(model);
    return NULL;
}

bool cpu_model_has(const struct cpu_model *m, const char *feature)
{
    const struct cpu_feature *f = cpu_feature_find(feature);
    uint32_t bit;

    if (f == NULL) {
        return false;
    }
    bit = 1u << f->bit;
    return (m->minus[f->word] & bit) == 0 &&
           (m->def->everything || ((m->words[f->word] | m->plus[f->word]) & bit) != 0);
}

static int get_supported(struct accel *a, struct leaves *l)
{
    int r;

    l->h.nent = MAX_ENTRIES;
    r = accel_sys_ioctl(a, KVM_GET_SUPPORTED_CPUID, l);
    if (r < 0) {
        return r;
    }
    /* What the in-kernel APIC offers is told by capabilities (KVM api.rst, 4.46). */
    if (find(l, 1, 0) != NULL) {
        struct kvm_cpuid_entry2 *e = find(l, 1, 0);

        e->ecx |= HYPERVISOR;
        if (accel_sys_ioctl(a, KVM_CHECK_EXTENSION, (void *)KVM_CAP_TSC_DEADLINE_TIMER) > 0) {
            e->ecx |= TSC_DEADLINE;
        }
    }
    return 0;
}

static void tell_missing(struct cpu_model *m, const uint32_t missing[_W_MAX])
{
    struct strbuf text = STRBUF_INIT(4096);
    AUTO_FREE char *s = NULL;

    m->check_told = true;
    for (const struct cpu_feature *f = cpu_features; f->name != NULL; f++) {
        bool alias = f != cpu_features && f[-1].word == f->word && f[-1].bit == f->bit;

        if ((missing[f->word] & (1u << f->bit)) != 0 && !alias) {
            strbuf_printf(&text, " %s", f->name);
        }
    }
    s = strbuf_take(&text);
    if (s != NULL && *s != '\0') {
        log_warn("the accelerator does not have these features of CPU model '%s':%s", m->def->name,
                 s);
    }
}

/* The feature words: what was asked for and is there. */
static int cut_features(struct cpu_model *m, struct leaves *l, struct err **err)
{
    uint32_t missing[_W_MAX] = { 0 };
    uint32_t any = 0;

    for (unsigned w = 0; w < _W_MAX; w++) {
        struct kvm_cpuid_entry2 *e = find(l, places[w].leaf, places[w].subleaf);
        uint32_t *reg = e != NULL ? reg_of(e, places[w].reg) : NULL;
        uint32_t have = reg != NULL ? *reg : 0;
        uint32_t want = m->def->everything || w == W_KVM_EAX ? have : m->words[w];

        if (w == W_1_ECX && !m->def->everything) {
            /* Every machine of ours has these, as far as the accelerator does. */
            want |= have & (HYPERVISOR | X2APIC | TSC_DEADLINE);
        }
        want = (want | m->plus[w]) & ~m->minus[w];
        if (w == W_1_ECX) {
            want &= ~OSXSAVE;
        }
        if (reg != NULL) {
            *reg = want & have;
        }
        /* SVM and x2APIC are on in the models' lists but nobody misses them. */
        missing[w] = want & ~have;
        if (w == W_81_ECX && (m->plus[w] & 4) == 0) {
            missing[w] &= ~4u;
        }
        any |= missing[w];
    }
    if (any != 0 && !m->check_told) {
        tell_missing(m, missing);
    }
    return any != 0 && m->enforce
               ? err_set(err, ENOTSUP, "the accelerator does not have all features of the CPU")
               : 0;
}

/* XCR0 and the sizes of leaf 0xd follow from the features (SDM 1, 13.2). */
static void cut_xsave(struct leaves *l)
{
    struct kvm_cpuid_entry2 *one = find(l, 1, 0);
    struct kvm_cpuid_entry2 *seven = find(l, 7, 0);
    struct kvm_cpuid_entry2 *d0 = find(l, 0xd, 0);
    uint32_t xcr0 = 3;
    uint32_t size = 512 + 64;

    if (one == NULL || (one->ecx & (1u << 26)) == 0) {
        drop(l, 0xd);
        return;
    }
    if (d0 == NULL) {
        return;
    }
    xcr0 |= (one->ecx & (1u << 28)) != 0 ? 1u << 2 : 0;
    xcr0 |= seven != NULL && (seven->ebx & (1u << 16)) != 0 ? 7u << 5 : 0;
    xcr0 |= seven != NULL && (seven->ecx & (1u << 3)) != 0 ? 1u << 9 : 0;
    d0->eax &= xcr0;
    d0->edx = 0;
    for (uint32_t i = 2; i < 32; i++) {
        struct kvm_cpuid_entry2 *e = find(l, 0xd, i);

        if (e == NULL || e->index != i) {
            continue;
        }
        if ((d0->eax & (1u << i)) == 0) {
            e->eax = e->ebx = e->ecx = e->edx = 0;
        } else if (e->eax + e->ebx > size) {
            size = e->eax + e->ebx;
        }
    }
    d0->ecx = size;
    d0->ebx = 512 + 64; /* with XCR0 = 1; the accelerator keeps it up to date */
}

/* Family, model and stepping (SDM 2A, CPUID leaf 1); what nobody asked for is the host's. */
static void set_signature(const struct cpu_model *m, struct kvm_cpuid_entry2 *one)
{
    const struct cpu_model_def *d = m->def;
    unsigned base_family = one->eax >> 8 & 0xf;
    unsigned family = base_family + (base_family == 15 ? one->eax >> 20 & 0xff : 0);
    unsigned model = (one->eax >> 4 & 0xf) | (one->eax >> 12 & 0xf0);
    unsigned stepping = one->eax & 0xf;

    if (d->vendor != NULL) {
        family = d->family;
        model = d->model;
        stepping = d->stepping;
    }
    family = m->own.has_family ? m->own.family : family;
    model = m->own.has_model ? m->own.model : model;
    stepping = m->own.has_stepping ? m->own.stepping : stepping;
    base_family = family > 15 ? 15 : family;
    one->eax = (family - base_family) << 20 | (model >> 4) << 16 | base_family << 8 |
               (model & 0xf) << 4 | stepping;
}

static void set_phys_bits(const struct cpu_model *m, struct leaves *l)
{
    struct kvm_cpuid_entry2 *e = find(l, EXT_LEAF + 8, 0);

    if (m->own.phys_bits != 0 && e != NULL && (e->eax & 0xff) > m->own.phys_bits) {
        e->eax = (e->eax & ~0xffu) | m->own.phys_bits;
    }
}

static void set_identity(const struct cpu_model *m, struct leaves *l)
{
    const struct cpu_model_def *d = m->def;
    struct kvm_cpuid_entry2 *zero = find_or_add(l, 0);
    struct kvm_cpuid_entry2 *one = find_or_add(l, 1);
    struct kvm_cpuid_entry2 *ext = find_or_add(l, EXT_LEAF);
    struct kvm_cpuid_entry2 *ext1 = find_or_add(l, EXT_LEAF + 1);
    const char *vendor = m->own.vendor[0] != '\0' ? m->own.vendor : d->vendor;
    const char *brand_text = m->own.brand[0] != '\0' ? m->own.brand : d->desc;
    unsigned level = m->own.level != 0 ? m->own.level : d->level;
    char brand[48] = { 0 };

    if (zero == NULL || one == NULL || ext == NULL || ext1 == NULL) {
        return;
    }
    if (vendor != NULL) {
        zero->ebx = ext->ebx = le32_get(vendor);
        zero->edx = ext->edx = le32_get(vendor + 4);
        zero->ecx = ext->ecx = le32_get(vendor + 8);
    }
    set_signature(m, one);
    ext1->eax = one->eax;
    if (ext->eax < EXT_LEAF + 8) {
        ext->eax = EXT_LEAF + 8;
    }
    if (m->own.xlevel != 0) {
        ext->eax = m->own.xlevel;
    }
    if (zero->eax > level && (d->vendor != NULL || m->own.level != 0)) {
        zero->eax = level < 0xd && find(l, 0xd, 0) != NULL ? 0xd : level;
    }
    if (d->vendor == NULL && m->own.brand[0] == '\0') {
        return; /* the host's name, and its performance counters */
    }
    memcpy(brand, brand_text, strnlen(brand_text, 47));
    for (uint32_t i = 0; i < 3; i++) {
        struct kvm_cpuid_entry2 *e = find_or_add(l, EXT_LEAF + 2 + i);

        if (e != NULL) {
            e->eax = le32_get(brand + i * 16);
            e->ebx = le32_get(brand + i * 16 + 4);
            e->ecx = le32_get(brand + i * 16 + 8);
            e->edx = le32_get(brand + i * 16 + 12);
        }
    }
    if (d->vendor != NULL) {
        drop(l, 0xa); /* the host's performance counters */
    }
}

static unsigned bits_for(unsigned n)
{
    unsigned bits = 0;

    while (1u << bits < n) {
        bits++;
    }
    return bits;
}

/* One package, n cores of one thread each (SDM 2A, CPUID leaves 1, 4, 0xb; APM 3, E.4). */
static void set_topology(struct leaves *l, unsigned index, unsigned n)
{
    struct kvm_cpuid_entry2 *one = find(l, 1, 0);
    struct kvm_cpuid_entry2 *ext8 = find(l, 0x80000008u, 0);
    struct kvm_cpuid_entry2 *ext1e = find(l, 0x8000001eu, 0);

    if (one != NULL) {
        one->ebx = (one->ebx & 0xff) | 8u << 8 | (n > 1 ? n : 1) << 16 | index << 24;
        one->edx = n > 1 ? one->edx | HTT : one->edx & ~HTT;
    }
    if (ext8 != NULL) {
        ext8->ecx = n > 1 ? (n - 1) | bits_for(n) << 12 : 0;
    }
    if (ext1e != NULL) {
        ext1e->eax = index;
        ext1e->ebx = index;
        ext1e->ecx = 0;
    }
    for (uint32_t i = 0; i < l->h.nent; i++) {
        struct kvm_cpuid_entry2 *e = &l->e[i];

        if (e->function == 4 && (e->eax & 0x1f) != 0) {
            unsigned shared = (e->eax >> 5 & 7) >= 3 ? n : 1;

            e->eax = (e->eax & 0x3fff) | (shared - 1) << 14 | (n - 1) << 26;
        }
    }
    drop(l, 0xb);
    drop(l, 0x1f);
    for (uint32_t i = 0; i < 3 && l->h.nent < MAX_ENTRIES; i++) {
        l->e[l->h.nent++] = (struct kvm_cpuid_entry2) {
            .function = 0xb,
            .index = i,
            .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
            .eax = i == 1 ? bits_for(n) : 0,
            .ebx = i == 0   ? 1
                   : i == 1 ? n
                            : 0,
            .ecx = i | (i == 0   ? 1
                        : i == 1 ? 2
                                 : 0)
                           << 8,
            .edx = index,
        };
    }
}

int cpuid_install(struct cpu_model *m, struct vcpu *v, struct err **err)
{
    AUTO_FREE struct leaves *l = calloc(1, sizeof(*l));
    struct kvm_cpuid_entry2 *kvm;
    int r;

    if (l == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    r = get_supported(v->m->accel, l);
    if (r < 0) {
        return err_set(err, -r, "the accelerator does not tell its CPU features: %s", strerror(-r));
    }
    r = cut_features(m, l, err);
    if (r < 0) {
        return r;
    }
    cut_xsave(l);
    set_identity(m, l);
    set_phys_bits(m, l);
    set_topology(l, v->index, m->n_cpus);
    kvm = find(l, KVM_LEAF, 0);
    if (kvm != NULL && kvm->eax == 0) {
        kvm->eax = KVM_FEATURES;
    }
    if (m->kvm_hidden) {
        drop(l, KVM_LEAF);
        drop(l, KVM_FEATURES);
    }
    r = v->m->accel->p->ioctl(v->fd, KVM_SET_CPUID2, l);
    return r < 0 ? err_set(err, errno, "cannot set the CPU's features: %s", strerror(errno)) : 0;
}

void cpu_model_print_help(FILE *out)
{
    (void)fprintf(out, "Available CPUs:\n");
    for (const struct cpu_model_def *d = cpu_models; d->name != NULL; d++) {
        (void)fprintf(out, "x86 %-26s %s\n", d->name, d->desc);
    }
    (void)fprintf(out, "\nRecognized CPUID flags:\n ");
    for (const struct cpu_feature *f = cpu_features; f->name != NULL; f++) {
        (void)fprintf(out, " %s", f->name);
    }
    (void)fprintf(out, "\n");
}
