// SPDX-License-Identifier: Apache-2.0
#include "binding/server.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "binding/failure.h"
#include "binding/model.h"
#include "server/server.h"

namespace autoglm::python {
namespace {

namespace nb = nanobind;

class Server final {
 public:
  Server(std::shared_ptr<const app::RunningModel> running, const server::ServerOptions& options)
      : running_(std::move(running)) {
    const nb::gil_scoped_release released;
    const app::RunningModel& model = *running_;
    server_ = model.generator ? take(server::start_server(*model.generator, options, *model.clock, *model.metrics))
                              : take(server::start_server(*model.embedder, options, *model.clock, *model.metrics));
    port_ = server_->port();
  }
  ~Server() {
    const nb::gil_scoped_release released;
    server_.reset();
    running_.reset();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::uint16_t port() const { return port_; }

  void stop() {
    const nb::gil_scoped_release released;
    if (server_ != nullptr) server_->drain();
    server_.reset();
  }

 private:
  std::shared_ptr<const app::RunningModel> running_;
  std::unique_ptr<server::Server> server_;  // uses the model
  std::uint16_t port_ = 0;
};

}  // namespace

void bind_server(nb::module_& core) {
  nb::class_<Server>(core, "Server", "The OpenAI API over HTTP, on a model's own engine.")
      .def(nb::new_([](Model& model, const std::string& host, std::uint16_t port, std::vector<std::string> api_keys,
                       std::vector<std::string> origins, int drain_seconds) {
             server::ServerOptions options;
             options.host = host;
             options.port = port;
             options.api_keys = std::move(api_keys);
             options.allowed_origins = std::move(origins);
             options.drain_timeout = std::chrono::seconds(drain_seconds);
             options.drains_engine = false;
             return std::make_unique<Server>(model.running(), options);
           }),
           nb::arg("model"), nb::kw_only(), nb::arg("host"), nb::arg("port"), nb::arg("api_keys"), nb::arg("origins"),
           nb::arg("drain_seconds"))
      .def_prop_ro("port", &Server::port)
      .def("stop", &Server::stop, "Lets requests in flight end, up to drain_seconds, then closes.");
}

}  // namespace autoglm::python
