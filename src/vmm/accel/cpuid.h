/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpuid.h - CPU models: what -cpu NAME,+feat,-feat,feat=on asks for, and the CPUID leaves made of
 * it and of what the accelerator can do.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* A CPUID word that holds feature bits. */
enum cpuid_word {
    W_1_EDX,
    W_1_ECX,
    W_7_EBX,
    W_7_ECX,
    W_7_EDX,
    W_7_1_EAX,
    W_D_1_EAX,
    W_81_EDX, /* 0x80000001 */
    W_81_ECX,
    W_87_EDX, /* 0x80000007 */
    W_88_EBX, /* 0x80000008 */
    W_6_EAX,
    W_KVM_EAX,
    _W_MAX,
};

struct cpu_feature {
    const char *name;
    enum cpuid_word word;
    unsigned bit;
};
extern const struct cpu_feature cpu_features[]; /* features.c; ends with .name == NULL */
const struct cpu_feature *cpu_feature_find(const char *name);

struct cpu_model_def {
    const char *name;
    const char *parent; /* features are added to this one's; NULL: none */
    const char *desc;   /* also the brand string, when brand is NULL */
    const char *vendor; /* 12 characters; NULL: the host's */
    unsigned family, model, stepping;
    unsigned level; /* highest basic leaf */
    const char *add;
    const char *remove; /* of the parent's features */
    bool everything;    /* host and max: all that the accelerator has */
};
extern const struct cpu_model_def cpu_models[]; /* models.c; ends with .name == NULL */
const struct cpu_model_def *cpu_model_find(const char *name);

struct cpu_model {
    const struct cpu_model_def *def;
    /* What was given by name; 0 and "": as the model's. */
    struct {
        char vendor[13];
        char brand[48];
        bool has_family, has_model, has_stepping;
        unsigned family, model, stepping;
        unsigned level, xlevel;
        unsigned phys_bits;
    } own;
    uint32_t words[_W_MAX]; /* of the model, where def is not "everything" */
    uint32_t plus[_W_MAX];  /* asked for by name */
    uint32_t minus[_W_MAX]; /* refused by name */
    bool kvm_hidden;        /* kvm=off */
    bool check_told;        /* the note about missing features was given */
    bool enforce;           /* a missing feature is an error */
    unsigned n_cpus;
};

struct machine;
struct vcpu;

/* NAME[,+F][,-F][,F=on|off]... */
int cpu_model_parse(const char *text, unsigned n_cpus, struct cpu_model **ret, struct err **err)
    MUST_CHECK;
struct cpu_model *cpu_model_free(struct cpu_model *model);
DEFINE_CLEANUP(struct cpu_model, cpu_model_free)

bool cpu_model_has(const struct cpu_model *model, const char *feature);

/* KVM_SET_CPUID2 for that vCPU. */
int cpuid_install(struct cpu_model *model, struct vcpu *v, struct err **err) MUST_CHECK;

void cpu_model_print_help(FILE *out);
