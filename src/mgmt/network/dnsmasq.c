/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/network/dnsmasq.h"

#include "base/log.h"
#include "mgmt/object/files.h"
#include "mgmt/object/network.h"
#include "mgmt/object/world.h"
#include "mgmt/server/lock.h"
#include "os/fd.h"
#include "os/path.h"
#include "os/process.h"
#include "rpc/fault.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

enum { LEASES_MAX = 4 << 20 };

static char *file_of(const struct network *n, const char *suffix)
{
    return str_format("%s/dnsmasq/%s.%s", n->world->lib_dir, n->name, suffix);
}

static char *pid_file(const struct network *n)
{
    return str_format("%s/network/%s.pid", n->world->run_dir, n->name);
}

static bool wanted(const struct network *n)
{
    return node_child(n->def, "ip") != NULL && !node_is(n->def, "dns/@enable", "no");
}

static bool has_dhcp(const struct network *n)
{
    for (const struct node *ip = node_child(n->def, "ip"); ip != NULL; ip = node_next(ip, "ip")) {
        if (node_child(ip, "dhcp") != NULL) {
            return true;
        }
    }
    return false;
}

static int write_hosts(struct network *n, struct err **err)
{
    AUTO_FREE char *hosts = file_of(n, "hostsfile"), *names = NULL, *text = NULL, *text2 = NULL;
    struct strbuf b = STRBUF_INIT(4 << 20), b2 = STRBUF_INIT(4 << 20);
    int r;

    for (const struct node *ip = node_child(n->def, "ip"); ip != NULL; ip = node_next(ip, "ip")) {
        for (const struct node *h = node_child(node_child(ip, "dhcp"), "host"); h != NULL;
             h = node_next(h, "host")) {
            if (node_attr(h, "mac") != NULL) {
                strbuf_puts(&b, node_attr(h, "mac"));
            } else if (node_attr(h, "id") != NULL) {
                strbuf_printf(&b, "id:%s", node_attr(h, "id"));
            }
            if (node_attr(h, "ip") != NULL) {
                strbuf_printf(&b, strchr(node_attr(h, "ip"), ':') ? ",[%s]" : ",%s",
                              node_attr(h, "ip"));
            }
            if (node_attr(h, "name") != NULL) {
                strbuf_printf(&b, ",%s", node_attr(h, "name"));
            }
            strbuf_puts(&b, "\n");
        }
    }
    for (const struct node *h = node_child(node_child(n->def, "dns"), "host"); h != NULL;
         h = node_next(h, "host")) {
        strbuf_puts(&b2, node_attr(h, "ip") ? node_attr(h, "ip") : "");
        for (const struct node *k = node_child(h, "hostname"); k != NULL;
             k = node_next(k, "hostname")) {
            strbuf_printf(&b2, "\t%s", k->text != NULL ? k->text : "");
        }
        strbuf_puts(&b2, "\n");
    }
    text = strbuf_take(&b);
    text2 = strbuf_take(&b2);
    names = file_of(n, "addnhosts");
    if (hosts == NULL || names == NULL || text == NULL || text2 == NULL) {
        return -ENOMEM;
    }
    r = files_write(hosts, text, err);
    return r == 0 ? files_write(names, text2, err) : r;
}

static char *configuration(struct network *n)
{
    struct strbuf b = STRBUF_INIT(1 << 20);
    AUTO_FREE char *pid = pid_file(n), *hosts = file_of(n, "hostsfile"),
                   *names = file_of(n, "addnhosts"), *leases = file_of(n, "leases");
    const char *domain = node_get(n->def, "domain/@name");

    strbuf_puts(&b, "strict-order\nuser=root\n");
    if (domain != NULL) {
        strbuf_printf(&b, "domain=%s\nexpand-hosts\n", domain);
        if (node_is(n->def, "domain/@localOnly", "yes")) {
            strbuf_printf(&b, "local=/%s/\n", domain);
        }
    }
    if (node_get(n->def, "forward/@mode") == NULL) {
        strbuf_puts(&b, "dhcp-option=3\nno-resolv\n");
    }
    for (const struct node *f = node_child(node_child(n->def, "dns"), "forwarder"); f != NULL;
         f = node_next(f, "forwarder")) {
        strbuf_printf(&b, "server=%s%s%s%s\n", node_attr(f, "domain") ? "/" : "",
                      node_attr(f, "domain") ? node_attr(f, "domain") : "",
                      node_attr(f, "domain") ? "/" : "",
                      node_attr(f, "addr") ? node_attr(f, "addr") : "");
    }
    for (const struct node *t = node_child(node_child(n->def, "dns"), "txt"); t != NULL;
         t = node_next(t, "txt")) {
        strbuf_printf(&b, "txt-record=%s,%s\n", node_attr(t, "name"), node_attr(t, "value"));
    }
    strbuf_printf(&b, "pid-file=%s\nexcept-interface=lo\nbind-dynamic\ninterface=%s\n", pid,
                  network_bridge(n));
    for (const struct node *ip = node_child(n->def, "ip"); ip != NULL; ip = node_next(ip, "ip")) {
        const struct node *dhcp = node_child(ip, "dhcp");
        const char *mask = node_attr(ip, "netmask");
        bool v6 = node_is(ip, "@family", "ipv6");

        for (const struct node *r = node_child(dhcp, "range"); r != NULL;
             r = node_next(r, "range")) {
            if (v6) {
                strbuf_printf(&b, "dhcp-range=%s,%s,%s\n", node_attr(r, "start"),
                              node_attr(r, "end"),
                              node_attr(ip, "prefix") ? node_attr(ip, "prefix") : "64");
            } else {
                strbuf_printf(&b, "dhcp-range=%s,%s%s%s\n", node_attr(r, "start"),
                              node_attr(r, "end"), mask != NULL ? "," : "",
                              mask != NULL ? mask : "");
            }
        }
        if (dhcp != NULL && node_child(dhcp, "range") == NULL && node_child(dhcp, "host") != NULL) {
            strbuf_printf(&b, "dhcp-range=%s,static\n", node_attr(ip, "address"));
        }
        if (node_child(ip, "tftp") != NULL) {
            strbuf_printf(&b, "enable-tftp\ntftp-root=%s\n", node_get(ip, "tftp/@root"));
        }
        if (node_get(dhcp, "bootp/@file") != NULL) {
            strbuf_printf(&b, "dhcp-boot=%s\n", node_get(dhcp, "bootp/@file"));
        }
    }
    if (has_dhcp(n)) {
        strbuf_printf(
            &b,
            "dhcp-no-override\ndhcp-authoritative\ndhcp-lease-max=65535\ndhcp-hostsfile=%s\n"
            "dhcp-leasefile=%s\n",
            hosts, leases);
    }
    strbuf_printf(&b, "addn-hosts=%s\n", names);
    return strbuf_take(&b);
}

static pid_t running_pid(const struct network *n)
{
    AUTO_FREE char *file = pid_file(n), *text = NULL, *comm_path = NULL, *comm = NULL;
    size_t len;
    long pid;

    if (file == NULL || file_slurp(file, 64, &text, &len) < 0) {
        return 0;
    }
    pid = strtol(text, NULL, 10);
    comm_path = pid > 0 ? str_format("/proc/%ld/comm", pid) : NULL;
    if (comm_path == NULL || file_slurp(comm_path, 64, &comm, &len) < 0 ||
        !str_starts(comm, "dnsmasq")) {
        return 0;
    }
    return (pid_t)pid;
}

int dnsmasq_start(struct network *n, struct err **err)
{
    AUTO_FREE char *conf = file_of(n, "conf"), *text = NULL, *arg = NULL, *out = NULL, *dir = NULL;
    int r;

    if (!wanted(n)) {
        return 0;
    }
    text = configuration(n);
    arg = conf != NULL ? str_format("--conf-file=%s", conf) : NULL;
    dir = str_format("%s/network", n->world->run_dir);
    if (text == NULL || arg == NULL || dir == NULL) {
        return -ENOMEM;
    }
    r = path_make_folders(dir, 0755, err);
    r = r == 0 ? files_write(conf, text, err) : r;
    r = r == 0 ? write_hosts(n, err) : r;
    if (r == 0) {
        const char *const argv[] = { "dnsmasq", arg, NULL };
        CLEANUP(err_freep) struct err *own = NULL;

        UNLOCKED(r = process_capture(argv, 65536, &out, &own));
        if (r < 0) {
            return fault(err, DOM_NETWORK, INTERNAL_ERROR, "%s",
                         own != NULL ? own->text : "dnsmasq failed");
        }
        n->dnsmasq = running_pid(n);
    }
    return r;
}

void dnsmasq_stop(struct network *n)
{
    pid_t pid = n->dnsmasq > 0 ? n->dnsmasq : running_pid(n);
    AUTO_FREE char *pf = pid_file(n);

    if (pid > 0 && pid == running_pid(n)) {
        (void)kill(pid, SIGTERM);
    }
    n->dnsmasq = 0;
    if (pf != NULL) {
        (void)unlink(pf);
    }
}

int dnsmasq_reload(struct network *n, struct err **err)
{
    int r;

    if (!wanted(n)) {
        return 0;
    }
    r = write_hosts(n, err);
    if (r == 0 && n->dnsmasq > 0 && n->dnsmasq == running_pid(n)) {
        (void)kill(n->dnsmasq, SIGHUP);
    }
    return r;
}

bool dnsmasq_adopt(struct network *n)
{
    n->dnsmasq = running_pid(n);
    return n->dnsmasq > 0 || !wanted(n);
}

/* "EXPIRY MAC IP NAME CLIENTID" a line; after "duid ..." the IPv6 ones, with an IAID for the MAC.
 */
int dnsmasq_leases(struct network *n, int (*fn)(const struct lease *l, void *arg), void *arg)
{
    AUTO_FREE char *file = file_of(n, "leases"), *text = NULL;
    size_t len;
    bool v6 = false;
    int r = 0;

    if (file == NULL || file_slurp(file, LEASES_MAX, &text, &len) < 0) {
        return 0;
    }
    for (char *line = text; r == 0 && line != NULL && *line != '\0';) {
        char *next = strchr(line, '\n');
        struct lease l = { 0 };
        long long expiry;

        if (next != NULL) {
            *next++ = '\0';
        }
        if (str_starts(line, "duid ")) {
            v6 = true;
        } else if (sscanf(line, "%lld %63s %63s %255s %255s", &expiry, l.mac, l.ip, l.hostname,
                          l.client_id) == 5 &&
                   (expiry == 0 || expiry > time(NULL))) {
            l.expiry = expiry;
            l.v6 = v6;
            if (v6) {
                memcpy(l.iaid, l.mac, sizeof(l.iaid));
                l.mac[0] = '\0';
            }
            r = fn(&l, arg);
        }
        line = next;
    }
    return r;
}
