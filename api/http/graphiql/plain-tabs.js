// Stands in for framer-motion, of which GraphiQL uses `Reorder` alone: tabs that can be dragged. A
// transform of an animation could stay on a tab and take it away from under the pointer, so that a
// click was lost, and a click with some movement was a drag. These tabs stay where they are.
import { createElement, forwardRef } from 'react';

const Group = forwardRef(({ values, onReorder, axis, ...props }, ref) => createElement('ul', { ...props, ref }));
const Item = forwardRef(({ value, ...props }, ref) => createElement('li', { ...props, ref }));

export const Reorder = { Group, Item };
