// The layers of a decoder on one rank's share of the weights, as calls between two all-reduces.
//
// A step is: begin, then for every layer `attend` and `feed` (together when the residual is parallel), each adding to
// a partial sum that the caller all-reduces over the ranks, then `head`. What is all-reduced is taken over by the
// next call.
#pragma once

#include "attention_int8.h"
#ifdef __AVX512F__
#include "attention_tiles.h"
#endif

namespace ock {

struct Config {  // as in server/engine/cpu/native_library.py
  int32_t hidden, heads, kv_heads, head_size, rotary, interleaved, inner, vocabulary, head_from, head_inputs, positions;
  int32_t weight_kind, activation, gated, parallel, norms, rms, level;
  float epsilon, scale;
};

enum Activation { kErfGelu, kTanhGelu, kSilu };  // as in server/engine/cpu/native_model.py

struct LayerWeights {  // as in server/engine/cpu/native_library.py; matrices bfloat16 and contiguous, vectors float32
  const bf16 *qkv, *dense, *up, *down;  // rows of qkv: queries, keys, values; of up: the gate's first, where there is one
  const float *qkv_bias, *dense_bias, *up_bias, *down_bias;  // row-parallel ones are added once, after the sum
  const float *norm_weight, *norm_bias, *second_norm_weight, *second_norm_bias;
};

struct ModelWeights {
  const bf16 *embedding, *head;  // the embedding stays the caller's and is read in place
  const float *norm_weight, *norm_bias, *cosines, *sines;  // [positions, rotary / 2]
};

struct StepSegment {  // as in server/engine/cpu/native_layout.py
  int32_t count, position, entry, num_context, num_blocks, num_ancestors;
};

using Vector = std::vector<float>;

inline Vector copied(const float* from, int size) {
  Vector result(round_up(size, kBlockColumns), 0.0f);
  if (from != nullptr) std::copy(from, from + size, result.begin());
  return result;
}

struct Layer {
  Matrix qkv, dense, up, down;
  Vector qkv_bias, up_bias, attend_bias, feed_bias;
  Vector norm_weight, norm_bias, second_norm_weight, second_norm_bias;
  uint8_t *keys = nullptr, *values = nullptr;  // as attention.h has them, or attention_int8.h
};

class Model {
 public:
  Model(const Config& config, const ModelWeights& weights)
      : c_(config),
        level_(static_cast<Level>(config.level)),
        kind_(static_cast<WeightKind>(config.weight_kind)),
        form_(form_of(kind_, level_)),
        shape_{config.kv_heads, config.head_size, round_up(config.head_size, 32)},
        embedding_(weights.embedding),
        norm_weight_(copied(weights.norm_weight, config.hidden)),
        norm_bias_(copied(weights.norm_bias, config.hidden)),
        cosines_(weights.cosines, weights.cosines + static_cast<size_t>(config.positions) * config.rotary / 2),
        sines_(weights.sines, weights.sines + static_cast<size_t>(config.positions) * config.rotary / 2),
        head_kind_(kind_ == kInt4 ? kInt8 : kind_),
        head_form_(form_of(head_kind_, level_)),
        head_(pack(arena_, weights.head, config.vocabulary, config.head_inputs, head_kind_, head_form_)) {}

  void add_layer(const LayerWeights& w) {
    Layer layer;
    const int width = c_.heads * c_.head_size;
    layer.qkv = pack(arena_, w.qkv, qkv_width(), c_.hidden, kind_, form_);
    layer.dense = pack(arena_, w.dense, c_.hidden, width, kind_, form_);
    layer.up = pack(arena_, w.up, up_width(), c_.hidden, kind_, form_);
    layer.down = pack(arena_, w.down, c_.hidden, c_.inner, kind_, form_);
    layer.qkv_bias = copied(w.qkv_bias, qkv_width()), layer.up_bias = copied(w.up_bias, up_width());
    layer.attend_bias = copied(w.dense_bias, c_.hidden), layer.feed_bias = copied(w.down_bias, c_.hidden);
    layer.norm_weight = copied(w.norm_weight, c_.hidden), layer.norm_bias = copied(w.norm_bias, c_.hidden);
    layer.second_norm_weight = copied(w.second_norm_weight, c_.hidden);
    layer.second_norm_bias = copied(w.second_norm_bias, c_.hidden);
    layers_.push_back(std::move(layer));
  }

  // Room for the keys and values of `slots` tokens, once all layers are there.
  void allocate(int slots, KvKind kind) {
    kv_kind_ = kind;
    const size_t of_group = kind == kKvInt8 ? int8_group_bytes(shape_) : shape_.group_values() * sizeof(bf16);
    const size_t bytes = round_up(slots, kGroupSlots) / kGroupSlots * c_.kv_heads * of_group;
    for (Layer& layer : layers_) {
      for (uint8_t** each : {&layer.keys, &layer.values}) {
        *each = arena_.take(bytes);
        std::memset(*each, 0, bytes);  // the memory is taken now, not in the middle of some request
      }
    }
  }

  void begin(int num_segments, const StepSegment* segments, const int32_t* tokens, const int32_t* blocks,
             const int32_t* ancestors, int block_tokens) {
    rows_ = 0;
    runs_.clear(), slots_.clear(), positions_.clear(), tasks_.clear();
    for (int s = 0; s < num_segments; ++s) {
      add_run(segments[s], blocks, ancestors, block_tokens);
      blocks += segments[s].num_blocks, ancestors += segments[s].num_ancestors;
    }
    fit();
#pragma omp parallel for
    for (int row = 0; row < rows_; ++row) {
      const bf16* from = embedding_ + static_cast<size_t>(tokens[row]) * c_.hidden;
      for (int i = 0; i < c_.hidden; ++i) x_[static_cast<size_t>(row) * stride_ + i] = to_float(from[i]);
    }
    owed_bias_.clear();
  }

  void attend(int index, const float* summed, float* partial) {
    Layer& layer = layers_[index];
    take_over(summed, &layer, c_.norms == 2 && c_.parallel);
    float* qkv = qkv_.data();
    const int width = qkv_stride_;
    const float* bias = layer.qkv_bias.data();
    multiply(level_, normed_, rows_, layer.qkv, [=](int row, int column, Floats sums) {
      store(qkv + static_cast<size_t>(row) * width + column, sums + load(bias + column));
    });
    rotate_and_keep(layer);
    attend_all(layer);
    product(layer.dense, attended_, partial, false);
    owe(layer.attend_bias);
  }

  void feed(int index, const float* summed, float* partial) {
    Layer& layer = layers_[index];
    if (!c_.parallel) take_over(summed, &layer, true);
    Operand& input = c_.norms == 2 ? second_normed_ : normed_;
    const float* bias = layer.up_bias.data();
    float* inner = inner_.data();
    const int stride = inner_stride_;
    const auto activation = static_cast<Activation>(c_.activation);
    const bool gated = c_.gated, whole_rows = keeps_inner();
    Operand* output = &fed_;
    multiply(level_, input, rows_, layer.up, [=](int row, int column, Floats sums) {
      const Floats value = sums + load(bias + column);
      const Floats fed = gated ? value : activated(activation, value);
      if (whole_rows) {
        store(inner + static_cast<size_t>(row) * stride + column, fed);
      } else {
        output->set_16(row, column, fed);
      }
    });
    if (whole_rows) {
#pragma omp parallel for
      for (int row = 0; row < rows_; ++row) {
        float* values = inner + static_cast<size_t>(row) * stride;
        if (gated) gate(activation, values);
        fed_.set_row(row, values);
      }
    }
    product(layer.down, fed_, partial, c_.parallel);
    owe(layer.feed_bias);
  }

  void head(const float* summed, const int32_t* rows, int num_rows, float* logits) {
    take_over(summed, nullptr, false);
    head_input_.shape(num_rows, c_.head_inputs, head_form_);
    Vector normed(stride_);
    for (int i = 0; i < num_rows; ++i) {
      normalise(x_.data() + static_cast<size_t>(rows[i]) * stride_, norm_weight_, norm_bias_, normed.data());
      head_input_.set_row(i, normed.data() + c_.head_from);
    }
    const int vocabulary = c_.vocabulary;
    multiply(level_, head_input_, num_rows, head_, [=](int row, int column, Floats sums) {
      store_first(logits + static_cast<size_t>(row) * vocabulary + column, sums, vocabulary - column);
    });
  }

 private:
  struct Task {
    int run, first, count;
  };

  int qkv_width() const { return (c_.heads + 2 * c_.kv_heads) * c_.head_size; }
  int up_width() const { return c_.gated ? 2 * c_.inner : c_.inner; }
  bool keeps_inner() const { return form_ != kFloats || c_.gated; }  // a row is rounded, or its halves meet, as a whole

  static Floats activated(Activation activation, Floats value) {
    if (activation == kSilu) return silu(value);
    return activation == kTanhGelu ? gelu_tanh(value) : gelu_erf(value);
  }

  // values[:inner] = activated(values[:inner]) * values[inner:]. What stands behind the end is not looked at.
  void gate(Activation activation, float* values) const {
    for (int i = 0; i < c_.inner; i += 16) {
      const int left = c_.inner - i;
      store_first(values + i, activated(activation, load(values + i)) * load(values + c_.inner + i), left);
    }
  }

  void add_run(const StepSegment& s, const int32_t* blocks, const int32_t* ancestors, int block_tokens) {
    const auto slot = [=](int32_t entry) { return blocks[entry / block_tokens] * block_tokens + entry % block_tokens; };
    Run run{rows_, s.count, {}, {}};
    for (int32_t entry = 0; entry < s.num_context; ++entry) run.see(slot(entry), 0);
    for (int32_t i = 0; i < s.num_ancestors; ++i) run.see(slot(ancestors[i]), 0);
    for (int32_t i = 0; i < s.count; ++i) {
      run.see(slot(s.entry + i), i);
      slots_.push_back(slot(s.entry + i)), positions_.push_back(s.position + i);
    }
    const int unit = level_ == kAmx && kv_kind_ == kKvPlain && s.count >= 4 ? 16 : 1;
    for (int first = 0; first < s.count; first += unit) {
      tasks_.push_back({static_cast<int>(runs_.size()), first, std::min(unit, s.count - first)});
    }
    rows_ += s.count;
    runs_.push_back(std::move(run));
  }

  void fit() {
    const int width = c_.heads * c_.head_size;
    stride_ = round_up(c_.hidden, 16), attended_stride_ = round_up(width, 16);
    qkv_stride_ = round_up(qkv_width(), kBlockColumns) + 16;  // rows on different cache sets
    inner_stride_ = round_up(up_width(), kBlockColumns) + 16;
    const size_t rows = rows_;
    grow(x_, rows * stride_), grow(qkv_, rows * qkv_stride_), grow(attended_floats_, rows * attended_stride_);
    if (keeps_inner()) grow(inner_, rows * inner_stride_);
    if (queries_.size() < rows * c_.heads * shape_.padded + 32) queries_.assign(rows * c_.heads * shape_.padded +
        32, 0);
    normed_.shape(rows_, c_.hidden, form_);
    if (c_.norms == 2) second_normed_.shape(rows_, c_.hidden, form_);
    attended_.shape(rows_, width, form_), fed_.shape(rows_, c_.inner, form_);
  }

  static void grow(Vector& v, size_t size) { if (v.size() < size + 16) v.assign(size + 16, 0.0f); }

  void owe(const Vector& bias) {
    if (owed_bias_.empty()) owed_bias_.assign(bias.size(), 0.0f);
    for (size_t i = 0; i < bias.size(); ++i) owed_bias_[i] += bias[i];
  }

  // Add what the ranks summed to the residual, then normalise it for what comes next.
  void take_over(const float* summed, const Layer* layer, bool second) {
    const bool owed = !owed_bias_.empty();
    const bool only_second = second && !c_.parallel;
#pragma omp parallel
    {
      Vector normed(stride_);
#pragma omp for
      for (int row = 0; row < rows_; ++row) {
        float* x = x_.data() + static_cast<size_t>(row) * stride_;
        if (owed) {
          const float* add = summed + static_cast<size_t>(row) * c_.hidden;
          for (int i = 0; i < c_.hidden; ++i) x[i] += add[i] + owed_bias_[i];
        }
        if (layer == nullptr) continue;
        if (!only_second) {
          normalise(x, layer->norm_weight, layer->norm_bias, normed.data());
          normed_.set_row(row, normed.data());
        }
        if (second) {
          normalise(x, layer->second_norm_weight, layer->second_norm_bias, normed.data());
          second_normed_.set_row(row, normed.data());
        }
      }
    }
    owed_bias_.clear();
  }

  void normalise(const float* x, const Vector& weight, const Vector& bias, float* out) const {
    Floats sum = zeros(), squares = zeros();
    const int n = c_.hidden;
    for (int i = 0; i < n && !c_.rms; i += 16) sum = sum + load_first(x + i, n - i);
    const Floats mean = all(total(sum) / n);
    for (int i = 0; i < n; i += 16) {
      const Floats d = keep_first(load(x + i) - mean, n - i);
      squares = multiply_add(d, d, squares);
    }
    const Floats factor = all(1.0f / std::sqrt(total(squares) / n + c_.epsilon));
    for (int i = 0; i < n; i += 16) {
      const Floats unit = (load(x + i) - mean) * factor;
      store(out + i, multiply_add(unit, load(&weight[i]), load(&bias[i])));
    }
  }

  void product(const Matrix& weights, const Operand& input, float* partial, bool add) {
    const int hidden = c_.hidden;
    multiply(level_, input, rows_, weights, [=](int row, int column, Floats sums) {
      float* at = partial + static_cast<size_t>(row) * hidden + column;
      if (add) sums = sums + load_first(at, hidden - column);
      store_first(at, sums, hidden - column);
    });
  }

  // qkv rows are [queries, keys, values][head][size]. Rotation is in float32; what is kept is bfloat16 or bytes. Sixteen rows of
  // a head go to the same group of slots more often than not, so they follow each other.
  void rotate_and_keep(Layer& layer) {
#pragma omp parallel
    {
      std::vector<bf16> kept(shape_.padded, 0);
      std::vector<int8_t> kept_bytes(shape_.padded, 0);
#pragma omp for
      for (int first = 0; first < rows_; first += kGroupSlots) {
        const int last = std::min(rows_, first + kGroupSlots);
        for (int head = 0; head < c_.heads; ++head) {
          for (int row = first; row < last; ++row) turn_query(row, head);
        }
        for (int head = 0; head < c_.kv_heads; ++head) {
          for (int row = first; row < last; ++row) {
            turn(head_of(row, c_.heads + head), row);
            if (kv_kind_ == kKvInt8) {
              keep_row_int8(layer, row, head, kept_bytes.data());
            } else {
              keep_row(layer, row, head, kept.data());
            }
          }
        }
      }
    }
  }

  // Of a row of qkv, the head that stands at place `index` among all queries, keys and values.
  float* head_of(int row, int index) { return &qkv_[static_cast<size_t>(row) * qkv_stride_ + index * c_.head_size]; }

  void turn_query(int row, int head) {
    float* query = head_of(row, head);
    turn(query, row);
    narrow_row(query, c_.head_size, &queries_[(static_cast<size_t>(row) * c_.heads + head) * shape_.padded]);
  }

  void keep_row(Layer& layer, int row, int head, bf16* kept) {
    narrow_row(head_of(row, c_.heads + head), c_.head_size, kept);
    write_key(reinterpret_cast<bf16*>(layer.keys), shape_, slots_[row], head, kept);
    narrow_row(head_of(row, c_.heads + c_.kv_heads + head), c_.head_size, kept);
    write_value(reinterpret_cast<bf16*>(layer.values), shape_, slots_[row], head, kept);
  }

  void keep_row_int8(Layer& layer, int row, int head, int8_t* kept) {
    write_key_int8(layer.keys, shape_, slots_[row], head, head_of(row, c_.heads + head), kept);
    write_value_int8(layer.values, shape_, slots_[row], head, head_of(row, c_.heads + c_.kv_heads + head), kept);
  }

  void turn(float* vector, int row) const {
    const size_t at = static_cast<size_t>(positions_[row]) * (c_.rotary / 2);
    if (c_.interleaved) {
      rotate<true>(vector, c_.rotary / 2, &cosines_[at], &sines_[at]);
    } else {
      rotate<false>(vector, c_.rotary / 2, &cosines_[at], &sines_[at]);
    }
  }

  template <bool interleaved>
  static void rotate(float* __restrict vector, int half, const float* cosine, const float* sine) {
    for (int i = 0; i < half; ++i) {
      float &a = vector[interleaved ? 2 * i : i], &b = vector[interleaved ? 2 * i + 1 : half + i];
      const float first = a, second = b;
      a = first * cosine[i] - second * sine[i];
      b = second * cosine[i] + first * sine[i];
    }
  }

  void attend_all(const Layer& layer) {
    const int items = static_cast<int>(tasks_.size()) * c_.heads;
#pragma omp parallel
    {
      Scratch scratch;
#pragma omp for schedule(dynamic, 4)
      for (int item = 0; item < items; ++item) attend_task(tasks_[item / c_.heads], item % c_.heads, layer, scratch);
#pragma omp for
      for (int row = 0; row < rows_; ++row) {
        attended_.set_row(row, attended_floats_.data() + static_cast<size_t>(row) * attended_stride_);
      }
    }
  }

  void attend_task(const Task& task, int head, const Layer& layer, Scratch& scratch) {
    const Run& run = runs_[task.run];
    const size_t row = run.row + task.first;
    const bf16* query = queries_.data() + (row * c_.heads + head) * shape_.padded;
    float* out = attended_floats_.data() + row * attended_stride_ + head * c_.head_size;
    const int kv_head = head / (c_.heads / c_.kv_heads);  // groups of query heads share one
    if (kv_kind_ == kKvInt8) {
      return attend_row_int8(run, task.first, shape_, kv_head, c_.scale, head_of(static_cast<int>(row), head), layer.keys,
                             layer.values, out, scratch);
    }
    const auto *keys = reinterpret_cast<const bf16*>(layer.keys), *values = reinterpret_cast<const bf16*>(layer.values);
#ifdef __AVX512F__
    if (task.count > 1) {
      attend_tile(run, task.first, task.count, shape_, kv_head, c_.scale, query, c_.heads * shape_.padded, keys,
                  values, out, attended_stride_, scratch);
      for (int i = 0; i < task.count; ++i) {
        float* row = out + static_cast<size_t>(i) * attended_stride_;
        if (all_finite(row, c_.head_size)) continue;
        attend_row<kBf16>(run, task.first + i, shape_, kv_head, c_.scale,
                          query + static_cast<size_t>(i) * c_.heads * shape_.padded, keys, values, row,
                          scratch);
      }
      return;
    }
    if (level_ >= kBf16) {
      return attend_row<kBf16>(run, task.first, shape_, kv_head, c_.scale, query, keys, values, out,
                               scratch);
    }
#endif
    attend_row<kVnni>(run, task.first, shape_, kv_head, c_.scale, query, keys, values, out, scratch);
  }

  const Config c_;
  const Level level_;
  const WeightKind kind_;
  const Form form_;
  KvKind kv_kind_ = kKvPlain;
  const HeadShape shape_;
  Arena arena_;
  const bf16* embedding_;
  Vector norm_weight_, norm_bias_, cosines_, sines_;
  const WeightKind head_kind_;  // four bits would cost it several per cent of perplexity
  const Form head_form_;
  Matrix head_;
  std::vector<Layer> layers_;

  // Of the step under way.
  int rows_ = 0, stride_ = 0, qkv_stride_ = 0, inner_stride_ = 0, attended_stride_ = 0;
  std::vector<Run> runs_;
  std::vector<Task> tasks_;
  std::vector<int32_t> slots_, positions_;
  Vector x_, qkv_, inner_, attended_floats_, owed_bias_;
  std::vector<bf16> queries_;
  Operand normed_, second_normed_, attended_, fed_, head_input_;
};

}  // namespace ock
