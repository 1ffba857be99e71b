/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dnsmasq.h - DHCP and DNS of a network: one dnsmasq with a configuration we write. Its lease file
 * is ours to read.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct network;

int dnsmasq_start(struct network *n, struct err **err) MUST_CHECK;
void dnsmasq_stop(struct network *n);
/* Hosts and names changed. */
int dnsmasq_reload(struct network *n, struct err **err) MUST_CHECK;
/* Is it running from before? */
bool dnsmasq_adopt(struct network *n);

struct lease {
    int64_t expiry;
    char mac[64], ip[64], hostname[256], client_id[256], iaid[64];
    bool v6;
};
/* Calls fn for each lease that has not expired. */
int dnsmasq_leases(struct network *n, int (*fn)(const struct lease *l, void *arg), void *arg);
