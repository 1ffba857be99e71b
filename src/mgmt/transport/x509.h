/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x509.h - libvirt's certificate folders, and which peers may connect.
 *
 * /etc/pki/CA/cacert.pem, cacrl.pem; /etc/pki/libvirt/servercert.pem, private/serverkey.pem,
 * clientcert.pem, private/clientkey.pem: what virt-pki-validate checks.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct client;
struct tls_creds;

/* dir: "/etc/pki", or another folder with that layout. */
int x509_load(const char *dir, bool server, struct tls_creds **ret, struct err **err) MUST_CHECK;

/* Names (shell patterns) that may connect; n == 0: all that the CA has signed. Copied. */
int x509_set_allowed(const char *const *names, size_t n) MUST_CHECK;
/* Is the client's certificate's name allowed? Keeps the name. */
int x509_allowed(struct client *c, struct err **err) MUST_CHECK;
