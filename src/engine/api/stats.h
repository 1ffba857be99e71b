/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * stats.h - KVM_GET_STATS_FD: a file with a header, descriptors and counters (KVM api.rst, 4.130).
 *
 * The file is memory that is shared with its readers; whoever changes the counters writes them there
 * from time to time, a vCPU when it leaves KVM_RUN or falls asleep in it.
 */
#pragma once

#include <stdint.h>

struct stats_entry {
    const char *name;
    uint32_t flags; /* KVM_STATS_TYPE_ | KVM_STATS_UNIT_ | KVM_STATS_BASE_ */
};

struct stats_file {
    uint64_t *data; /* shared with readers; NULL: nobody has asked yet */
    void *map;
    uint64_t map_bytes;
    int fd; /* the file, which each reader gets a descriptor of */
};

/* A new descriptor of the file, made at the first time; or a negative errno. */
int stats_open(struct stats_file *s, const char *id, const struct stats_entry *entries, unsigned n);
void stats_done(struct stats_file *s);

/* Handlers of KVM_GET_STATS_FD. */
int vcpu_get_stats_fd(void *vcpu, void *arg);
int vm_get_stats_fd(void *vm, void *arg);

struct vcpu;
struct vm;
void vcpu_publish_stats(struct vcpu *v);
void vm_publish_stats(struct vm *vm);
