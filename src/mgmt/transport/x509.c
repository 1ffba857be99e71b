/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/transport/x509.h"

#include "base/str.h"
#include "mgmt/server/client.h"
#include "os/path.h"
#include "os/tls.h"
#include "rpc/fault.h"

#include <errno.h>
#include <fnmatch.h>

static char **allowed;
static size_t n_allowed;

int x509_load(const char *dir, bool server, struct tls_creds **ret, struct err **err)
{
    const char *who = server ? "server" : "client";
    AUTO_FREE char *ca = str_format("%s/CA/cacert.pem", dir);
    AUTO_FREE char *crl = str_format("%s/CA/cacrl.pem", dir);
    AUTO_FREE char *cert = str_format("%s/libvirt/%scert.pem", dir, who);
    AUTO_FREE char *key = str_format("%s/libvirt/private/%skey.pem", dir, who);

    if (ca == NULL || crl == NULL || cert == NULL || key == NULL) {
        return -ENOMEM;
    }
    if (!path_exists(ca)) {
        return fault(err, DOM_RPC, SYSTEM_ERROR, "Cannot read CA certificate '%s': %s", ca,
                     strerror(ENOENT));
    }
    return tls_creds_load(ca, path_exists(cert) ? cert : NULL, path_exists(cert) ? key : NULL,
                          path_exists(crl) ? crl : NULL, ret, err);
}

int x509_set_allowed(const char *const *names, size_t n)
{
    allowed = calloc(n + 1, sizeof(*allowed));
    if (allowed == NULL) {
        return -ENOMEM;
    }
    for (n_allowed = 0; n_allowed < n; n_allowed++) {
        allowed[n_allowed] = strdup(names[n_allowed]);
        if (allowed[n_allowed] == NULL) {
            return -ENOMEM;
        }
    }
    return 0;
}

int x509_allowed(struct client *c, struct err **err)
{
    c->x509_name = tls_peer_name(c->tls);
    if (c->x509_name == NULL) {
        return err_set(err, EACCES, "the client sent no certificate");
    }
    for (size_t i = 0; i < n_allowed; i++) {
        if (fnmatch(allowed[i], c->x509_name, 0) == 0) {
            return 0;
        }
    }
    return n_allowed == 0
               ? 0
               : err_set(err, EACCES, "'%s' is not in tls_allowed_dn_list", c->x509_name);
}
