#pragma once

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

namespace wee5::delivery::test {

using Key = std::shared_ptr<EVP_PKEY>;
using Certificate = std::shared_ptr<X509>;

struct Identity {
  Key key;
  Certificate certificate;
};

struct CertificateChoices {
  bool authority = false;
  bool expired = false;
};

// A certificate for `name` ("127.0.0.1" as an address), signed by `issuer`, or by itself.
Identity issue(const std::string& name, const Identity* issuer, CertificateChoices choices = {});

// A file with this certificate in PEM that lives as long as the object.
class PemFile {
 public:
  explicit PemFile(const Certificate& certificate);
  ~PemFile();
  PemFile(const PemFile&) = delete;
  PemFile& operator=(const PemFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// What a server needs to speak TLS with this identity.
std::shared_ptr<SSL_CTX> server_tls(const Identity& identity);
// The same, offering HTTP/2 alone (ALPN).
std::shared_ptr<SSL_CTX> server_http2(const Identity& identity);
// TLS 1.1 and nothing newer.
std::shared_ptr<SSL_CTX> server_old_tls(const Identity& identity);

}  // namespace wee5::delivery::test
