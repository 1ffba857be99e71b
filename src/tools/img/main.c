/* SPDX-License-Identifier: GPL-2.0-or-later */
/* main.c - vireo-img: finds the command. */
#include "base/log.h"
#include "base/str.h"
#include "tools/img/img.h"

#include <stdio.h>
#include <string.h>

static const char parameters[] =
    "\n"
    "Command parameters:\n"
    "  filename     an image: a path, SCHEME:..., or json:{...}; with --image-opts options like\n"
    "               driver=qcow2,file.filename=disk.img\n"
    "  objectdef    secret,id=ID,data=TEXT (or file=PATH); tls-creds-x509,id=ID,dir=PATH;\n"
    "               throttle-group,id=ID,x-bps-total=N,x-iops-total=N...\n"
    "  fmt          the image's format; guessed when left out\n"
    "  cache        none, writeback (default), writethrough, directsync, unsafe (convert's default)\n"
    "  size         bytes, with a suffix k, M, G, T, P or E of powers of 1024\n"
    "  options      name=value,...; '-o help' lists what the format has\n"
    "  -c           compressed (convert)    -p  progress    -q  quiet    -U  share with writers\n"
    "  -S size      zero runs of at least this length become holes (default 4k; 0: none)\n"
    "  -n           the target exists already\n"
    "  -u           do not look at backing files\n"
    "  --output     human or json\n"
    "\n"
    "The manual is vireo-img(1).\n";

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void help(void)
{
    const char *names[128];
    size_t n = 0;

    printf("vireo-img version %s\n"
           "usage: vireo-img [standard options] command [command options]\n"
           "Disk image utility\n\n"
           "    '-h', '--help'       display this help and exit\n"
           "    '-V', '--version'    output version information and exit\n"
           "    '-T', '--trace'      [[enable=]<pattern>]\n"
           "                         enable trace points\n\n"
           "Command syntax:\n",
           VIREO_VERSION);
    for (const struct img_command *const *c = img_commands; *c != NULL; c++) {
        printf("  %s %s\n", (*c)->name, (*c)->usage);
    }
    printf("%s\nSupported formats:", parameters);
    for (const struct block_driver *const *d = block_drivers; *d != NULL && n < 128; d++) {
        names[n++] = (*d)->name;
    }
    qsort(names, n, sizeof(names[0]), by_name);
    for (size_t i = 0; i < n; i++) {
        printf(" %s", names[i]);
    }
    printf("\n");
}

static int run_command(struct img *img, int argc, char **argv)
{
    for (const struct img_command *const *c = img_commands; *c != NULL; c++) {
        if (str_eq((*c)->name, argv[0])) {
            img->command = (*c)->name;
            optind = 0;
            return (*c)->run(img, argc, argv);
        }
    }
    return img_usage("Command not found: %s", argv[0]);
}

int main(int argc, char **argv)
{
    static const struct option longs[] = { { "help", no_argument, 0, 'h' },
                                           { "version", no_argument, 0, 'V' },
                                           { "trace", required_argument, 0, 'T' },
                                           { 0 } };
    struct img img = { 0 };
    struct err *err = NULL;
    int c;
    int r;

    log_set_program("vireo-img");
    while ((c = getopt_long(argc, argv, "+:hVT:", longs, NULL)) != -1) {
        switch (c) {
        case 'h':
            help();
            return 0;
        case 'V':
            printf("vireo-img version %s\n", VIREO_VERSION);
            return 0;
        case 'T':
            if (trace_enable(str_starts(optarg, "enable=") ? optarg + 7 : optarg) < 0) {
                return img_fail("no memory");
            }
            break;
        default:
            return img_bad_option(c, argv);
        }
    }
    if (optind >= argc) {
        return img_usage("Not enough arguments");
    }
    if (block_ctx_new(NULL, &img.ctx, &err) < 0 || objects_new(img.ctx, &img.objects, &err) < 0) {
        return img_fail_err(err, -1);
    }
    r = run_command(&img, argc - optind, argv + optind);
    img.objects = objects_free(img.objects);
    img.ctx = block_ctx_free(img.ctx);
    if (fflush(stdout) != 0 && r == 0) {
        r = img_fail("cannot write the output");
    }
    return r;
}
