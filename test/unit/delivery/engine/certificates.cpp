#include "engine/certificates.hpp"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <stdexcept>
#include <string_view>

namespace wee5::delivery::test {
namespace {

constexpr long kDay = 86'400;

void require(bool fine, const char* what) {
  if (!fine) throw std::runtime_error(what);
}

void add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  require(extension != nullptr, "X509V3_EXT_conf_nid");
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

bool is_address(const std::string& name) { return name.find_first_not_of("0123456789.") == std::string::npos; }

}  // namespace

Identity issue(const std::string& name, const Identity* issuer, CertificateChoices choices) {
  static std::atomic<long> serial{1};
  Identity identity{Key(EVP_EC_gen("P-256"), EVP_PKEY_free), Certificate(X509_new(), X509_free)};
  require(identity.key && identity.certificate, "EVP_EC_gen");
  X509* certificate = identity.certificate.get();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -30 * kDay);
  X509_gmtime_adj(X509_getm_notAfter(certificate), choices.expired ? -kDay : 30 * kDay);
  X509_set_pubkey(certificate, identity.key.get());
  X509_NAME* subject = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1,
                             0);
  X509* signer = issuer != nullptr ? issuer->certificate.get() : certificate;
  X509_set_issuer_name(certificate, X509_get_subject_name(signer));
  add_extension(certificate, signer, NID_basic_constraints, choices.authority ? "critical,CA:TRUE" : "CA:FALSE");
  if (choices.authority) add_extension(certificate, signer, NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(certificate, signer, NID_subject_alt_name, (is_address(name) ? "IP:" : "DNS:") + name);
  EVP_PKEY* key = issuer != nullptr ? issuer->key.get() : identity.key.get();
  require(X509_sign(certificate, key, EVP_sha256()) > 0, "X509_sign");
  return identity;
}

PemFile::PemFile(const Certificate& certificate) : path_("/tmp/wee5_cron_test_XXXXXX") {
  const int descriptor = mkstemp(path_.data());
  require(descriptor >= 0, "mkstemp");
  std::FILE* file = fdopen(descriptor, "w");
  PEM_write_X509(file, certificate.get());
  std::fclose(file);
}

PemFile::~PemFile() { unlink(path_.c_str()); }

std::shared_ptr<SSL_CTX> server_tls(const Identity& identity) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  require(SSL_CTX_use_certificate(context.get(), identity.certificate.get()) == 1, "SSL_CTX_use_certificate");
  require(SSL_CTX_use_PrivateKey(context.get(), identity.key.get()) == 1, "SSL_CTX_use_PrivateKey");
  return context;
}

std::shared_ptr<SSL_CTX> server_http2(const Identity& identity) {
  auto context = server_tls(identity);
  const auto select = [](SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* in,
                         unsigned int in_length, void*) {
    static const std::string_view protocol = "\x02h2";
    const std::string_view offered(reinterpret_cast<const char*>(in), in_length);
    if (offered.find(protocol) == std::string_view::npos) return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = reinterpret_cast<const unsigned char*>(protocol.data()) + 1;
    *out_length = 2;
    return SSL_TLSEXT_ERR_OK;
  };
  SSL_CTX_set_alpn_select_cb(context.get(), select, nullptr);
  return context;
}

std::shared_ptr<SSL_CTX> server_old_tls(const Identity& identity) {
  auto context = server_tls(identity);
  // Today's OpenSSL refuses to speak it above security level 0.
  SSL_CTX_set_security_level(context.get(), 0);
  SSL_CTX_set_cipher_list(context.get(), "ALL:@SECLEVEL=0");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_1_VERSION);
  SSL_CTX_set_max_proto_version(context.get(), TLS1_1_VERSION);
  return context;
}

}  // namespace wee5::delivery::test
