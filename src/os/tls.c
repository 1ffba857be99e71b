/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/tls.h"

#include "base/str.h"
#include "os/dynlib.h"
#include "os/path.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

/* What we use of GnuTLS; gnutls_free is a variable that holds a function. */
#define FUNCTIONS(X) \
    X(gnutls_bye) \
    X(gnutls_certificate_allocate_credentials) \
    X(gnutls_certificate_free_credentials) \
    X(gnutls_certificate_get_peers) \
    X(gnutls_certificate_server_set_request) \
    X(gnutls_certificate_set_x509_crl_file) \
    X(gnutls_certificate_set_x509_key_file) \
    X(gnutls_certificate_set_x509_trust_file) \
    X(gnutls_certificate_verification_status_print) \
    X(gnutls_certificate_verify_peers3) \
    X(gnutls_cipher_get) \
    X(gnutls_cipher_get_key_size) \
    X(gnutls_credentials_set) \
    X(gnutls_deinit) \
    X(gnutls_error_is_fatal) \
    X(gnutls_free) \
    X(gnutls_handshake) \
    X(gnutls_init) \
    X(gnutls_priority_set_direct) \
    X(gnutls_record_check_pending) \
    X(gnutls_record_get_direction) \
    X(gnutls_record_recv) \
    X(gnutls_record_send) \
    X(gnutls_server_name_set) \
    X(gnutls_strerror) \
    X(gnutls_transport_set_int2) \
    X(gnutls_x509_crt_deinit) \
    X(gnutls_x509_crt_get_dn) \
    X(gnutls_x509_crt_import) \
    X(gnutls_x509_crt_init)

FUNCTIONS(DYNLIB_POINTER)

static int load_gnutls(struct err **err)
{
    static const struct dynlib_symbol symbols[] = { FUNCTIONS(DYNLIB_SYMBOL) };

    return dynlib_open("libgnutls.so.30", symbols, sizeof(symbols) / sizeof(symbols[0]), err);
}

struct tls_creds {
    gnutls_certificate_credentials_t x509;
};

struct tls {
    gnutls_session_t session;
    bool verify_peer;
    bool server;
    char *hostname; /* owned; NULL: any */
};

int tls_creds_load(const char *ca, const char *cert, const char *key, const char *crl,
                   struct tls_creds **ret, struct err **err)
{
    CLEANUP(tls_creds_freep) struct tls_creds *creds = calloc(1, sizeof(*creds));
    int r = load_gnutls(err);

    if (r < 0) {
        return r;
    }
    if (creds == NULL || dyn_gnutls_certificate_allocate_credentials(&creds->x509) < 0) {
        return err_set(err, ENOMEM, "no memory for TLS credentials");
    }
    r = dyn_gnutls_certificate_set_x509_trust_file(creds->x509, ca, GNUTLS_X509_FMT_PEM);
    if (r <= 0) {
        return err_set(err, EINVAL, "cannot load CA certificate '%s': %s", ca,
                       r < 0 ? dyn_gnutls_strerror(r) : "it holds none");
    }
    if (cert != NULL) {
        r = dyn_gnutls_certificate_set_x509_key_file(creds->x509, cert, key, GNUTLS_X509_FMT_PEM);
        if (r < 0) {
            return err_set(err, EINVAL, "cannot load certificate '%s' with key '%s': %s", cert, key,
                           dyn_gnutls_strerror(r));
        }
    }
    if (crl != NULL) {
        r = dyn_gnutls_certificate_set_x509_crl_file(creds->x509, crl, GNUTLS_X509_FMT_PEM);
        if (r < 0) {
            return err_set(err, EINVAL, "cannot load revocation list '%s': %s", crl,
                           dyn_gnutls_strerror(r));
        }
    }
    *ret = TAKE_PTR(creds);
    return 0;
}

int tls_creds_load_folder(const char *dir, bool server, struct tls_creds **ret, struct err **err)
{
    AUTO_FREE char *ca = path_join(dir, "ca-cert.pem");
    AUTO_FREE char *crl = path_join(dir, "ca-crl.pem");
    AUTO_FREE char *cert = path_join(dir, server ? "server-cert.pem" : "client-cert.pem");
    AUTO_FREE char *key = path_join(dir, server ? "server-key.pem" : "client-key.pem");

    if (ca == NULL || crl == NULL || cert == NULL || key == NULL) {
        return err_set(err, ENOMEM, "no memory for TLS credentials");
    }
    return tls_creds_load(ca, server || path_exists(cert) ? cert : NULL, key,
                          path_exists(crl) ? crl : NULL, ret, err);
}

struct tls_creds *tls_creds_free(struct tls_creds *creds)
{
    if (creds != NULL) {
        if (creds->x509 != NULL) {
            dyn_gnutls_certificate_free_credentials(creds->x509);
        }
        free(creds);
    }
    return NULL;
}

int tls_new(struct tls_creds *creds, int fd, bool server, const char *hostname, bool verify_peer,
            const char *priority, struct tls **ret, struct err **err)
{
    CLEANUP(tls_freep) struct tls *tls = calloc(1, sizeof(*tls));
    unsigned flags = (server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL;
    int r;

    if (tls == NULL || (hostname != NULL && (tls->hostname = strdup(hostname)) == NULL)) {
        return err_set(err, ENOMEM, "no memory for a TLS session");
    }
    tls->server = server;
    tls->verify_peer = verify_peer;
    r = dyn_gnutls_init(&tls->session, flags);
    if (r >= 0) {
        r = dyn_gnutls_priority_set_direct(tls->session, priority != NULL ? priority : "NORMAL", NULL);
    }
    if (r >= 0) {
        r = dyn_gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE, creds->x509);
    }
    if (r >= 0 && hostname != NULL) {
        r = dyn_gnutls_server_name_set(tls->session, GNUTLS_NAME_DNS, hostname, strlen(hostname));
    }
    if (r < 0) {
        return err_set(err, EINVAL, "cannot set up a TLS session: %s", dyn_gnutls_strerror(r));
    }
    if (server && verify_peer) {
        dyn_gnutls_certificate_server_set_request(tls->session, GNUTLS_CERT_REQUIRE);
    }
    dyn_gnutls_transport_set_int2(tls->session, fd, fd);
    *ret = TAKE_PTR(tls);
    return 0;
}

struct tls *tls_free(struct tls *tls)
{
    if (tls != NULL) {
        if (tls->session != NULL) {
            (void)dyn_gnutls_bye(tls->session, GNUTLS_SHUT_WR);
            dyn_gnutls_deinit(tls->session);
        }
        free(tls->hostname);
        free(tls);
    }
    return NULL;
}

static int check_peer(struct tls *tls, struct err **err)
{
    unsigned status = 0;
    int r =
        dyn_gnutls_certificate_verify_peers3(tls->session, tls->server ? NULL : tls->hostname, &status);
    gnutls_datum_t text = { .data = NULL };

    if (r < 0) {
        return err_set(err, EACCES, "cannot verify the TLS peer: %s", dyn_gnutls_strerror(r));
    }
    if (status == 0) {
        return 0;
    }
    if (dyn_gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) < 0) {
        return err_set(err, EACCES, "the TLS peer's certificate is not trusted");
    }
    r = err_set(err, EACCES, "the TLS peer's certificate is not trusted: %s", text.data);
    (*dyn_gnutls_free)(text.data);
    return r;
}

int tls_handshake(struct tls *tls, struct err **err)
{
    int r;

    do {
        r = dyn_gnutls_handshake(tls->session);
    } while (r < 0 && r != GNUTLS_E_AGAIN && dyn_gnutls_error_is_fatal(r) == 0);
    if (r == GNUTLS_E_AGAIN) {
        return -EAGAIN;
    }
    if (r < 0) {
        return err_set(err, EPROTO, "TLS handshake failed: %s", dyn_gnutls_strerror(r));
    }
    return tls->verify_peer ? check_peer(tls, err) : 0;
}

bool tls_wants_write(const struct tls *tls)
{
    return dyn_gnutls_record_get_direction(tls->session) == 1;
}

static ssize_t io_result(ssize_t n)
{
    if (n >= 0) {
        return n;
    }
    if (n == GNUTLS_E_PREMATURE_TERMINATION) {
        return 0;
    }
    return dyn_gnutls_error_is_fatal((int)n) != 0 ? -EIO : -EAGAIN;
}

ssize_t tls_read(struct tls *tls, void *buf, size_t len)
{
    return io_result(dyn_gnutls_record_recv(tls->session, buf, len));
}

ssize_t tls_write(struct tls *tls, const void *buf, size_t len)
{
    return io_result(dyn_gnutls_record_send(tls->session, buf, len));
}

size_t tls_pending(const struct tls *tls)
{
    return dyn_gnutls_record_check_pending(tls->session);
}

char *tls_peer_name(const struct tls *tls)
{
    unsigned n = 0;
    const gnutls_datum_t *certs = dyn_gnutls_certificate_get_peers(tls->session, &n);
    gnutls_x509_crt_t crt;
    char name[1024];
    size_t size = sizeof(name);
    char *ret = NULL;

    if (n == 0 || dyn_gnutls_x509_crt_init(&crt) < 0) {
        return NULL;
    }
    if (dyn_gnutls_x509_crt_import(crt, &certs[0], GNUTLS_X509_FMT_DER) >= 0 &&
        dyn_gnutls_x509_crt_get_dn(crt, name, &size) >= 0) {
        ret = strdup(name);
    }
    dyn_gnutls_x509_crt_deinit(crt);
    return ret;
}

unsigned tls_key_bits(const struct tls *tls)
{
    return (unsigned)dyn_gnutls_cipher_get_key_size(dyn_gnutls_cipher_get(tls->session)) * 8;
}
