/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/host/topology.h"

#include "os/fd.h"

#include <stdio.h>
#include <sys/sysinfo.h>

static bool read_number(const char *path, unsigned long *ret)
{
    AUTO_FREE char *text = NULL;
    size_t n;

    if (file_slurp(path, 64, &text, &n) < 0) {
        return false;
    }
    *ret = strtoul(text, NULL, 10);
    return true;
}

static bool cpu_file(unsigned cpu, const char *name, unsigned long *ret)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/%s", cpu, name);
    return read_number(path, ret);
}

bool host_cpu_online(unsigned cpu)
{
    unsigned long v;

    return cpu_file(cpu, "online", &v) ? v == 1 : cpu < host_facts()->n_cpus;
}

uint64_t host_meminfo_kib(const char *name)
{
    AUTO_FREE char *text = NULL;
    size_t n, len = strlen(name);

    if (file_slurp("/proc/meminfo", 65536, &text, &n) < 0) {
        return 0;
    }
    for (char *p = text; p != NULL; p = strchr(p, '\n') != NULL ? strchr(p, '\n') + 1 : NULL) {
        if (strncmp(p, name, len) == 0 && p[len] == ':') {
            return strtoull(p + len + 1, NULL, 10);
        }
    }
    return 0;
}

uint64_t host_free_kib(void)
{
    return host_meminfo_kib("MemFree");
}

const struct host_facts *host_facts(void)
{
    static struct host_facts f;
    AUTO_FREE char *info = NULL;
    unsigned long sockets = 0, cores = 0, v;
    size_t n;

    if (f.n_cpus > 0) {
        return &f;
    }
    f.n_cpus = (unsigned)get_nprocs_conf();
    f.n_online = (unsigned)get_nprocs();
    for (unsigned i = 0; i < f.n_cpus; i++) {
        if (cpu_file(i, "topology/physical_package_id", &v) && v + 1 > sockets) {
            sockets = v + 1;
        }
        if (cpu_file(i, "topology/core_id", &v) && v + 1 > cores) {
            cores = v + 1;
        }
    }
    f.sockets = sockets > 0 ? (unsigned)sockets : 1;
    f.threads = 1;
    if (cores > 0 && cores < f.n_online / f.sockets) {
        f.threads = f.n_online / f.sockets / (unsigned)cores;
    }
    f.cores = f.n_online / f.sockets / f.threads;
    f.cells = 1;
    f.memory_kib = host_meminfo_kib("MemTotal");
    if (file_slurp("/proc/cpuinfo", 1 << 20, &info, &n) == 0) {
        const char *p = strstr(info, "cpu MHz");

        p = p != NULL ? strchr(p, ':') : NULL;
        f.mhz = p != NULL ? (unsigned)strtoul(p + 1, NULL, 10) : 0;
    }
    return &f;
}

void host_topology_xml(struct strbuf *b, unsigned indent)
{
    const struct host_facts *f = host_facts();
    int i = (int)indent;

    strbuf_printf(b, "%*s<topology>\n%*s  <cells num='1'>\n%*s    <cell id='0'>\n", i, "", i, "", i,
                  "");
    strbuf_printf(b, "%*s      <memory unit='KiB'>%llu</memory>\n", i, "",
                  (unsigned long long)f->memory_kib);
    strbuf_printf(b, "%*s      <pages unit='KiB' size='4'>%llu</pages>\n", i, "",
                  (unsigned long long)f->memory_kib / 4);
    strbuf_printf(b, "%*s      <pages unit='KiB' size='2048'>0</pages>\n", i, "");
    strbuf_printf(
        b, "%*s      <distances>\n%*s        <sibling id='0' value='10'/>\n%*s      </distances>\n",
        i, "", i, "", i, "");
    strbuf_printf(b, "%*s      <cpus num='%u'>\n", i, "", f->n_online);
    for (unsigned c = 0; c < f->n_cpus; c++) {
        unsigned long socket = 0, core = c, die = 0;

        if (!host_cpu_online(c)) {
            continue;
        }
        (void)cpu_file(c, "topology/physical_package_id", &socket);
        (void)cpu_file(c, "topology/core_id", &core);
        (void)cpu_file(c, "topology/die_id", &die);
        strbuf_printf(
            b,
            "%*s        <cpu id='%u' socket_id='%lu' die_id='%lu' core_id='%lu' siblings='%u'/>\n",
            i, "", c, socket, die, core, c);
    }
    strbuf_printf(b, "%*s      </cpus>\n%*s    </cell>\n%*s  </cells>\n%*s</topology>\n", i, "", i,
                  "", i, "", i, "");
}
