/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * topology.h - the host's memory, CPUs and NUMA cells, from /sys and /proc.
 */
#pragma once

#include "base/str.h"

enum { HOST_CPUS_MAX = 1024, HOST_CELLS_MAX = 64 };

struct host_cpu {
    unsigned id, socket, die, core;
    char siblings[64];
};

struct host_facts {
    unsigned n_cpus, n_online; /* highest CPU + 1 that exists; online ones */
    unsigned mhz;
    unsigned sockets, cores, threads, cells;
    uint64_t memory_kib;
};

/* Read once. */
const struct host_facts *host_facts(void);
void host_topology_xml(struct strbuf *b, unsigned indent);
uint64_t host_free_kib(void);
/* A line "NAME: 123 kB" of /proc/meminfo. */
uint64_t host_meminfo_kib(const char *name);
bool host_cpu_online(unsigned cpu);
