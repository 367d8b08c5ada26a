package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stephost/stephost/plugin/sdk"
)

// Order is the message of all three steps.
type Order struct {
	Step        string `json:"step"`
	OrderID     string `json:"order_id"`
	AmountCents int64  `json:"amount_cents"`
	ReceiptID   string `json:"receipt_id,omitempty"`
}

// The results of the steps.
type (
	// Validated is the result of validate.
	Validated struct {
		OrderID string `json:"order_id"`
	}
	// Receipt is the result of charge.
	Receipt struct {
		ReceiptID string `json:"receipt_id"`
		Amount    string `json:"amount"`
	}
	// Shipment is the result of ship.
	Shipment struct {
		TrackingID string `json:"tracking_id"`
		Region     string `json:"region,omitempty"`
	}
)

// shop has what the handlers need.
type shop struct {
	currency string
	region   string
}

// validate refuses what can never be charged: no retry would help.
func (s *shop) validate(ctx context.Context, order Order) (Validated, error) {
	switch {
	case order.OrderID == "":
		return Validated{}, sdk.Permanent(errors.New("the order has no order_id"))
	case order.AmountCents <= 0:
		return Validated{}, sdk.Permanent(fmt.Errorf("order %s: the amount must be positive, not %d", order.OrderID, order.AmountCents))
	}
	order.Step = "charge"
	if err := sdk.Emit(ctx, sdk.ToNamespace("payments"), order); err != nil {
		return Validated{}, err
	}
	return Validated{OrderID: order.OrderID}, nil
}

// charge fails the first time for amounts that end in 50 cents: the gateway of
// this example is like that. The namespace's policy tries again.
func (s *shop) charge(ctx context.Context, order Order) (Receipt, error) {
	info := sdk.StepInfo(ctx)
	if order.AmountCents%100 == 50 && info.Attempt == 1 {
		return Receipt{}, errors.New("the payment gateway timed out")
	}
	// A real gateway is given the key, so that a charge that is delivered twice
	// is made once.
	sdk.Logger(ctx).Info("charging", "order", order.OrderID, "key", info.IdempotencyKey)
	receipt := Receipt{
		ReceiptID: "r-" + order.OrderID,
		Amount:    fmt.Sprintf("%d.%02d %s", order.AmountCents/100, order.AmountCents%100, s.currency),
	}
	order.Step, order.ReceiptID = "ship", receipt.ReceiptID
	if err := sdk.Emit(ctx, sdk.ToNamespace("shipping"), order); err != nil {
		return Receipt{}, err
	}
	return receipt, nil
}

// packingTime is how long the parcel of a large order takes to be packed.
const packingTime = time.Second

// ship waits until a large order is packed, without spending an attempt.
func (s *shop) ship(ctx context.Context, order Order) (Shipment, error) {
	if order.AmountCents >= 10_000 {
		if age := time.Since(sdk.StepInfo(ctx).EnqueuedAt); age < packingTime {
			return Shipment{}, sdk.Snooze(packingTime - age)
		}
	}
	return Shipment{TrackingID: "t-" + order.OrderID, Region: s.region}, nil
}
