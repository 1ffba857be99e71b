/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/network/firewall.h"

#include "base/log.h"
#include "mgmt/object/network.h"
#include "rpc/fault.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <nftables/libnftables.h>

/* Table names have letters, digits and underscores. */
static char *table_of(const struct network *n)
{
    char *t = str_format("vireo_%s", n->name);

    for (char *p = t; p != NULL && *p != '\0'; p++) {
        *p = (char)(isalnum((unsigned char)*p) ? *p : '_');
    }
    return t;
}

static int run(const char *commands, struct err **err)
{
    struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
    int r = 0;

    if (nft == NULL) {
        return -ENOMEM;
    }
    (void)nft_ctx_buffer_output(nft);
    (void)nft_ctx_buffer_error(nft);
    if (nft_run_cmd_from_buffer(nft, commands) != 0) {
        r = fault(err, DOM_NETWORK, INTERNAL_ERROR, "Failed to apply firewall rules: %s",
                  nft_ctx_get_error_buffer(nft));
    }
    nft_ctx_free(nft);
    return r;
}

/* "192.168.122.0/24" of the network's first IPv4 address. */
static char *subnet(const struct node *ip)
{
    const char *mask = node_attr(ip, "netmask");
    struct in_addr a, m;
    char text[INET_ADDRSTRLEN];
    unsigned prefix;

    if (node_is(ip, "@family", "ipv6") || inet_pton(AF_INET, node_attr(ip, "address"), &a) != 1) {
        return NULL;
    }
    if (mask == NULL || inet_pton(AF_INET, mask, &m) != 1) {
        prefix = (unsigned)node_get_u64(ip, "@prefix", 24);
        m.s_addr = htonl(prefix > 0 ? ~0u << (32 - prefix) : 0);
    }
    prefix = (unsigned)__builtin_popcount(m.s_addr);
    a.s_addr &= m.s_addr;
    return inet_ntop(AF_INET, &a, text, sizeof(text)) != NULL ? str_format("%s/%u", text, prefix)
                                                              : NULL;
}

int firewall_add(struct network *n, struct err **err)
{
    AUTO_FREE char *table = table_of(n);
    const char *mode = node_get(n->def, "forward/@mode"), *br = network_bridge(n);
    const char *dev = node_get(n->def, "forward/@dev");
    struct strbuf b = STRBUF_INIT(65536);
    AUTO_FREE char *text = NULL;
    AUTO_FREE char *out_dev = dev != NULL ? str_format("oifname \"%s\" ", dev) : strdup("");

    if (table == NULL || out_dev == NULL) {
        return -ENOMEM;
    }
    if (mode != NULL && str_eq(mode, "open")) {
        return 0;
    }
    strbuf_printf(&b, "add table inet %s\ndelete table inet %s\nadd table inet %s\n", table, table,
                  table);
    strbuf_printf(
        &b, "add chain inet %s input { type filter hook input priority -1; policy accept; }\n",
        table);
    strbuf_printf(&b, "add rule inet %s input iifname \"%s\" udp dport { 53, 67 } accept\n", table,
                  br);
    strbuf_printf(&b, "add rule inet %s input iifname \"%s\" tcp dport 53 accept\n", table, br);
    strbuf_printf(
        &b, "add chain inet %s forward { type filter hook forward priority -1; policy accept; }\n",
        table);
    for (const struct node *ip = node_child(n->def, "ip"); ip != NULL; ip = node_next(ip, "ip")) {
        AUTO_FREE char *net = subnet(ip);

        if (net == NULL || mode == NULL) {
            continue;
        }
        strbuf_printf(&b, "add rule inet %s forward oifname \"%s\" ip daddr %s %saccept\n", table,
                      br, net, str_eq(mode, "nat") ? "ct state established,related " : "");
        strbuf_printf(&b, "add rule inet %s forward iifname \"%s\" ip saddr %s %saccept\n", table,
                      br, net, out_dev);
    }
    strbuf_printf(&b, "add rule inet %s forward iifname \"%s\" oifname \"%s\" accept\n", table, br,
                  br);
    strbuf_printf(&b, "add rule inet %s forward oifname \"%s\" reject\n", table, br);
    strbuf_printf(&b, "add rule inet %s forward iifname \"%s\" reject\n", table, br);
    if (mode != NULL && str_eq(mode, "nat")) {
        strbuf_printf(&b,
                      "add chain inet %s postrouting { type nat hook postrouting priority 100; }\n",
                      table);
        for (const struct node *ip = node_child(n->def, "ip"); ip != NULL;
             ip = node_next(ip, "ip")) {
            AUTO_FREE char *net = subnet(ip);

            if (net != NULL) {
                strbuf_printf(&b,
                              "add rule inet %s postrouting ip saddr %s ip daddr { 224.0.0.0/24, "
                              "255.255.255.255 } return\n",
                              table, net);
                strbuf_printf(
                    &b, "add rule inet %s postrouting %sip saddr %s ip daddr != %s masquerade\n",
                    table, out_dev, net, net);
            }
        }
    }
    text = strbuf_take(&b);
    return text != NULL ? run(text, err) : -ENOMEM;
}

void firewall_remove(struct network *n)
{
    AUTO_FREE char *table = table_of(n);
    AUTO_FREE char *text =
        table != NULL ? str_format("add table inet %s\ndelete table inet %s\n", table, table)
                      : NULL;
    CLEANUP(err_freep) struct err *err = NULL;

    if (text != NULL && run(text, &err) < 0) {
        log_debug("%s", err->text);
    }
}
