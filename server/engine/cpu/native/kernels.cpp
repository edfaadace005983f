// The functions that server/engine/cpu/native_library.py calls.
#include "bandwidth.h"
#include "model.h"
#include "product_rate.h"

extern "C" {

double ock_read_bandwidth(int64_t bytes, int repeats) { return ock::read_bandwidth(bytes, repeats); }

double ock_product_rate(int kind, int level, int repeats) {
  return ock::product_rate(static_cast<ock::WeightKind>(kind), static_cast<ock::Level>(level), repeats);
}

double ock_product_seconds(int kind, int level, int rows, int repeats) {
  return ock::product_seconds(static_cast<ock::WeightKind>(kind), static_cast<ock::Level>(level), rows, repeats);
}

// Bytes of the structures that Python fills: Config, ModelWeights, LayerWeights, StepSegment.
void ock_struct_bytes(int32_t* bytes) {
  bytes[0] = sizeof(ock::Config), bytes[1] = sizeof(ock::ModelWeights);
  bytes[2] = sizeof(ock::LayerWeights), bytes[3] = sizeof(ock::StepSegment);
}

ock::Model* ock_model_new(const ock::Config* config, const ock::ModelWeights* weights) {
  try {
    return new ock::Model(*config, *weights);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void ock_model_free(ock::Model* model) { delete model; }

int ock_add_layer(ock::Model* model, const ock::LayerWeights* weights) {
  try {
    model->add_layer(*weights);
    return 0;
  } catch (const std::bad_alloc&) {
    return 1;
  }
}

int ock_allocate(ock::Model* model, int slots, int kv_kind) {
  try {
    model->allocate(slots, static_cast<ock::KvKind>(kv_kind));
    return 0;
  } catch (const std::bad_alloc&) {
    return 1;
  }
}

void ock_begin(ock::Model* model, int num_segments, const ock::StepSegment* segments, const int32_t* tokens,
               const int32_t* blocks, const int32_t* ancestors, int block_tokens) {
  model->begin(num_segments, segments, tokens, blocks, ancestors, block_tokens);
}

void ock_layer(ock::Model* model, int index, float* partial) {  // parallel residual: one sum for both parts
  model->attend(index, partial, partial);
  model->feed(index, partial, partial);
}

void ock_attend(ock::Model* model, int index, float* partial) { model->attend(index, partial, partial); }

void ock_feed(ock::Model* model, int index, float* partial) { model->feed(index, partial, partial); }

void ock_head(ock::Model* model, const float* summed, const int32_t* rows, int num_rows, float* logits) {
  model->head(summed, rows, num_rows, logits);
}

}  // extern "C"
